"""Asks a program over JSON lines: one record in, one answer out."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from affectgpt.annotate.stage import Answer, ClipRecord, Stage, Status, Usage
from affectgpt.errors import ConfigError, DataError, reason_of
from affectgpt.files import digest_of_file, parse_json

MAX_ANSWER_BYTES = 4 * 2**20
_TOLD_BY_PROGRAM: Mapping[str, Status] = {"done": "done", "drop": "dropped", "person": "person", "fail": "failed"}


class CommandStage(Stage):
    """A program that stays up and answers records.

    It reads lines ``{"key", "video", "audio", "fields"}`` (paths, or ``null``) from its standard input, and writes for
    each a line ``{"fields": {...}}`` to its standard output, with ``"verdict": "done" | "drop" | "person" | "fail"``
    and ``"reason"`` where the clip does not simply go on. Its standard error is passed through. A program that ends or
    answers too late is started anew for the next clip.

    Args:
        program: The command with its arguments, as a list or as one text that is split like a shell does; no shell is
            used.
        reads: Fields that the program is told.
        writes: Fields that it may answer with.
        version: Raise it when the program changes; a file named first in the command is digested as well.
        timeout_seconds: Longest wait for an answer.

    Raises:
        ConfigError: If the command is empty or a field is no name.
    """

    def __init__(
        self,
        program: str | Sequence[str],
        writes: Sequence[str],
        reads: Sequence[str] = ("subtitle",),
        version: str = "",
        timeout_seconds: float = 300.0,
    ) -> None:
        self._command = shlex.split(program) if isinstance(program, str) else [str(word) for word in program]
        if not self._command or timeout_seconds <= 0:
            raise ConfigError(f"program is {program!r}, timeout_seconds {timeout_seconds}; give a command and a time")
        for names in (reads, writes):
            if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
                raise ConfigError(f"reads and writes are lists of names of fields, but got {names!r}")
        self.reads, self.writes = tuple(reads), tuple(writes)
        self._version, self._timeout = version, timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: SimpleQueue[bytes] = SimpleQueue()

    def identity(self) -> dict[str, Any]:
        """The command, the version, and digests of the files that the command names."""
        files = {word: digest_of_file(word) for word in self._command if os.path.isfile(word)}
        return {"command": self._command, "version": self._version, "files": files, "writes": list(self.writes)}

    def answer(self, record: ClipRecord) -> Answer:
        """What the program says of one clip."""
        with tempfile.TemporaryDirectory() as folder:
            told = {
                "key": record.key,
                "video": _path(record.media.video(), Path(folder) / "video"),
                "audio": _path(record.media.audio(), Path(folder) / "audio"),
                "fields": dict(record.fields),
            }
            return self._read(self._ask(json.dumps(told, ensure_ascii=False)))

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()

    def _ask(self, line: str) -> bytes:
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            found = self._lines.get(timeout=self._timeout)
        except Empty:
            self.close()
            raise DataError(f"{self._command[0]!r} gave no answer in {self._timeout:g} s; it is started anew") from None
        except OSError as error:
            code = process.poll()
            self.close()
            raise DataError(f"{self._command[0]!r} ended before it answered ({reason_of(error)}, {code})") from error
        if not found.endswith(b"\n"):
            code = process.poll()
            self.close()
            what = "ended before it answered" if len(found) < MAX_ANSWER_BYTES else "answers with too long a line"
            raise DataError(f"{self._command[0]!r} {what} (exit code {code})")
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            try:
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:
                raise ConfigError(f"the program {self._command[0]!r} cannot be started: {error.strerror}") from error
            self._lines = SimpleQueue()
            threading.Thread(target=_listen, args=(self._process.stdout, self._lines), daemon=True).start()
        return self._process

    def _read(self, line: bytes) -> Answer:
        told = parse_json(line, f"the answer of {self._command[0]!r}")
        if not isinstance(told, dict) or not isinstance(told.get("fields", {}), dict):
            raise DataError(f"{self._command[0]!r} answers {line[:80]!r}; expected an object with 'fields'")
        verdict, reason = told.get("verdict", "done"), told.get("reason")
        if verdict not in _TOLD_BY_PROGRAM or not (reason is None or isinstance(reason, str)):
            raise DataError(f"{self._command[0]!r} says {verdict!r}; expected {', '.join(_TOLD_BY_PROGRAM)}")
        if verdict != "done" and not reason:
            reason = f"so said {self._command[0]}"
        return Answer(_TOLD_BY_PROGRAM[verdict], told.get("fields", {}), reason, Usage(requests=1))


def _listen(pipe: IO[bytes] | None, lines: SimpleQueue[bytes]) -> None:
    assert pipe is not None
    while True:
        try:
            line = pipe.readline(MAX_ANSWER_BYTES)
        except (OSError, ValueError):  # it was closed here
            line = b""
        lines.put(line)
        if not line.endswith(b"\n"):
            return


def _path(source: Path | bytes | None, spare: Path) -> str | None:
    """Where a program finds a file; what lies in a shard is put beside for as long as the program looks at it."""
    if isinstance(source, bytes):
        spare.write_bytes(source)
        return str(spare)
    return None if source is None else str(source.resolve())
