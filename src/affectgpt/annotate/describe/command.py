"""Asks a program over JSON lines: one record in, one answer out."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectgpt.annotate.stage import Answer, ClipRecord, Stage, Status, Usage
from affectgpt.bench.answerers.running_program import RunningProgram
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file

_TOLD_BY_PROGRAM: Mapping[str, Status] = {"done": "done", "drop": "dropped", "person": "person", "fail": "failed"}


class CommandStage(Stage):
    """A program that stays up and answers records.

    It reads lines ``{"key", "video", "audio", "fields"}`` (paths, or ``null``) from its standard input, and writes for
    each a line ``{"fields": {...}}`` to its standard output, with ``"verdict": "done" | "drop" | "person" | "fail"``
    and ``"reason"`` where the clip does not simply go on. A ``"key"`` in it is compared with the one that was sent.
    What it writes to its standard error stands in the reasons of failures. A program that ends, writes no JSON or stays
    silent is started anew for the next clip.

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
        self._program: RunningProgram | None = None

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
            return self._read(self._ask(told))

    def close(self) -> None:
        """End the program."""
        if self._program is not None:
            self._program.__exit__()
        self._program = None

    def __del__(self) -> None:
        if getattr(self, "_program", None) is not None:
            self.close()

    def _ask(self, told: Mapping[str, Any]) -> dict[str, Any]:
        if self._program is None:
            self._program = RunningProgram(self._command)
        found = self._program.write(told) or self._program.read(self._timeout)
        if not isinstance(found, str) and found.get("key", told["key"]) != told["key"]:
            found = f"the program answered about {found['key']!r:.80} and not about {told['key']!r}"
        if isinstance(found, str):
            reason = f"{found}{self._program.end()}; it is started anew"
            self.close()
            raise DataError(reason)
        return found

    def _read(self, told: Mapping[str, Any]) -> Answer:
        if not isinstance(told.get("fields", {}), dict):
            raise DataError(f"{self._command[0]!r} answers {dict(told)!r:.80}; expected an object with 'fields'")
        verdict, reason = told.get("verdict", "done"), told.get("reason")
        if verdict not in _TOLD_BY_PROGRAM or not (reason is None or isinstance(reason, str)):
            raise DataError(f"{self._command[0]!r} says {verdict!r}; expected {', '.join(_TOLD_BY_PROGRAM)}")
        if verdict != "done" and not reason:
            reason = f"so said {self._command[0]}"
        return Answer(_TOLD_BY_PROGRAM[verdict], told.get("fields", {}), reason, Usage(requests=1))


def _path(source: Path | bytes | None, spare: Path) -> str | None:
    """Where a program finds a file; what lies in a shard is put beside for as long as the program looks at it."""
    if isinstance(source, bytes):
        spare.write_bytes(source)
        return str(spare)
    return None if source is None else str(source.resolve())
