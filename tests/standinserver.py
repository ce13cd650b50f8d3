"""A stand-in for an OpenAI-compatible server in a process of its own, which outlives those that are killed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatserver import Step, serve


@contextmanager
def standin_server(folder: Path, seconds: float = 0.01) -> Iterator[tuple[str, Path]]:
    """The server's address, and a file to which each request adds a line.

    Its answers depend on the request alone; each takes ``seconds``.
    """
    log = folder / "requests"
    log.touch()
    command = [sys.executable, __file__, str(log), str(seconds)]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url, "the stand-in server did not start"
        yield url, log
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def main(log: str, seconds: str) -> None:
    """Serve until the standard input ends."""

    def script(body: dict) -> Step:
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
        with open(log, "a") as file:
            file.write(f"{digest}\n")
        mood = ("happy", "sad", "angry")[int(digest, 16) % 3]
        return Step(f"In picture {digest} she is {mood}.", seconds=float(seconds))

    with serve(script) as (url, _):
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
