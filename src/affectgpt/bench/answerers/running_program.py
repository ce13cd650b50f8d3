"""Starts a program, writes JSON lines to it and reads JSON lines from it, without waiting or reading for ever."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Self

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import parse_json
from affectgpt.text import clean_text

MAX_LINE_BYTES = 4 * 2**20
"""A line of a program's output that is longer ends the program: nothing reads without a bound."""
_SHOWN = 200


@dataclass(frozen=True)
class _Line:
    """A line of a program's output; ``None`` where the output ended."""

    content: bytes | None


class RunningProgram:
    """A program that runs: JSON objects go in and come out, one a line. Leaving its block ends it.

    Args:
        words: The command with its arguments; no shell runs it.

    Raises:
        ConfigError: If it cannot be started.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, start_new_session=True
            )
        except OSError as error:
            self._said.close()
            raise ConfigError(f"the program {words[0]!r} cannot be started: {error.strerror}") from None
        self._lines: queue.Queue[_Line] = queue.Queue(64)
        self._is_over = threading.Event()
        threading.Thread(target=self._take, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._kill()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with suppress(OSError):
                if stream is not None:
                    stream.close()

    def write(self, line: Mapping[str, Any]) -> str | None:
        """Write a question; what is wrong, if it is not taken."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((clean_text(json.dumps(line, ensure_ascii=False)) + "\n").encode())
            self._process.stdin.flush()
        except OSError:
            return "the program takes no more questions"
        return None

    def read(self, timeout_seconds: float) -> dict[str, Any] | str:
        """The next answer, or what is wrong."""
        try:
            line = self._lines.get(timeout=timeout_seconds).content
        except queue.Empty:
            return f"the program was silent for {timeout_seconds:g} s"
        if line is None:
            return "the program ended"
        if len(line) > MAX_LINE_BYTES:
            return f"the program wrote a line of more than {MAX_LINE_BYTES:,} bytes"
        try:
            found = parse_json(line, "the program's line")
        except DataError:
            found = None
        if not isinstance(found, dict):
            return f"the program wrote {line[:_SHOWN]!r}, which is no JSON object"
        return found

    def finish(self) -> None:
        """Let the program end by itself, as there are no more questions."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def end(self) -> str:
        """How the program ended, and the last words of its standard error, for a reason."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        code = self._process.returncode
        self._kill()
        with suppress(OSError):
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        how = "" if code is None else f" (exit code {code})"
        return how + (f"; it said: {lines[-1][-_SHOWN:]}" if lines else "")

    def _take(self) -> None:
        """Read lines in a thread, so that waiting for one can end."""
        assert self._process.stdout is not None
        while not self._is_over.is_set():
            try:
                line = self._process.stdout.readline(MAX_LINE_BYTES + 1)
            except (OSError, ValueError):
                line = b""
            if line.strip() or not line:
                self._put(_Line(line or None))
            if not line:
                return

    def _put(self, line: _Line) -> None:
        while not self._is_over.is_set():
            with suppress(queue.Full):
                self._lines.put(line, timeout=0.2)
                return

    def _kill(self) -> None:
        """End the program and what it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        start = time.monotonic()
        while self._process.poll() is None and time.monotonic() - start < 5:
            time.sleep(0.01)
