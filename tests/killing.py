"""Runs an annotation in processes that are killed at random moments, until it has come to its end."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 120.0


def annotate_with_kills(pipeline: dict[str, Any], clips: Path, out: Path, *, kills: int, workers: int = 0) -> None:
    """Annotate ``clips`` into ``out``, killed so many times; another process does it, and forks one for each try.

    Args:
        pipeline: What ``make_pipeline`` takes.
        clips: See ``annotate``, as for the others.
        out: See there.
        kills: How often a process is killed: while it starts, while stages answer, or while the set is written.
        workers: See there.
    """
    told = json.dumps({"pipeline": pipeline, "clips": str(clips), "out": str(out), "kills": kills, "workers": workers})
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, __file__, told],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def answers_in(out: Path) -> list[tuple[str, str]]:
    """Stage and key of every answer in the journal, in no order."""
    found = []
    for path in (out / "work" / "journal").glob("answers-*.jsonl"):
        found += [(line["stage"], line["key"]) for line in map(json.loads, path.read_text().splitlines())]
    return found


def main(told: str) -> None:
    """Kill and go on, and end with a run that nobody disturbs."""
    import torch

    from affectgpt.annotate import annotate
    from affectgpt.annotate.pipeline import make_pipeline

    torch.set_num_threads(1)
    plan = json.loads(told)
    out, chance = Path(plan["out"]), random.Random(plan["kills"])

    def start() -> int:
        child = os.fork()
        if not child:
            code = 1
            try:
                annotate(make_pipeline(plan["pipeline"]), plan["clips"], out, workers=plan["workers"])
                code = 0
            finally:
                os._exit(code)
        return child

    kills = 0
    for _ in range(10 * plan["kills"]):
        if kills == plan["kills"]:
            break
        before, child = size_of(out), start()
        # nothing is timed from the start of a process, whose speed depends on the machine, but while it starts
        moment = chance.choice(["starting", "answering", "answering", "answering"])
        more = 0 if moment == "starting" else chance.randint(1, 1500)
        ended = wait_until(child, lambda wanted=before + more: size_of(out) >= wanted)
        if not ended:
            time.sleep(chance.uniform(0, 0.25 if moment == "starting" else 0.03))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            kills += os.WIFSIGNALED(status)
        elif (out / "shards").is_dir():  # all is answered: the next ones are killed while they write
            shutil.rmtree(out / "shards")
    assert kills == plan["kills"], f"{kills} kills"
    _, status = os.waitpid(start(), 0)
    assert status == 0


def size_of(out: Path) -> int:
    """Bytes of the journal and of what is written."""
    return sum(path.stat().st_size for path in out.rglob("*") if path.suffix in (".jsonl", ".tar") and path.is_file())


def wait_until(child: int, is_so: Any) -> bool:
    """Whether a process ended, without an error, before something was so."""
    begun = time.monotonic()
    while not is_so():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, f"a run ended with status {status}"
            return True
        assert time.monotonic() - begun < _PATIENCE_SECONDS, "a run hangs"
        time.sleep(0.002)
    return False


if __name__ == "__main__":
    main(sys.argv[1])
