"""Keeps the answers of a run in an append-only file, so that a killed run resumes where it stopped."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from affectgpt.errors import DataError
from affectgpt.files import digest_of, new_file_mode, parse_json

LOG_SUFFIX = ".answers.jsonl"


class AnswerLog:
    """The answers by sample, one JSON object per line.

    A line belongs to this run if it has the run's digest, which covers the checkpoint, the question and everything else
    that decides an answer. Lines of other runs stay in the file and are skipped. If a kill cut the last line off, that
    line is removed when the file is opened. Samples whose last line is an error are asked again.

    Args:
        path: The file; it and its folder are created if they are missing.
        identity: What decides the answers, as plain JSON; its digest marks the lines.

    Raises:
        DataError: If the file cannot be opened, another run has it open, or a line before the last is broken.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.identity = dict(identity)
        self.run = digest_of(self.identity)[:16]
        self.answers: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        self.num_cut_bytes = 0
        self.num_others = 0
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), mode=new_file_mode())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._file = self.path.open("a+b", buffering=0)  # a buffer would keep what a full disk rejected
            known = self._read()
        except Timeout:
            raise DataError(f"another run is writing to {self.path}; wait for it, or choose another folder") from None
        except OSError as error:
            self._lock.release()
            raise DataError(f"{self.path} cannot be opened for the answers: {error.strerror}") from error
        except DataError:
            self._lock.release()
            raise
        if not known:
            self._write([{"run": self.run, "identity": self.identity}])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def add(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Append answers, each with a ``key``, and wait until they are on the disk.

        Raises:
            DataError: If they cannot be written.
        """
        rows = [dict(answer) for answer in answers]
        self._write([{"run": self.run, **row} for row in rows])
        for row in rows:
            self._take(row)

    def add_errors(self, errors: Mapping[str, str]) -> None:
        """Append the samples that could not be read, with the reasons."""
        if errors:
            self.add({"key": key, "error": reason} for key, reason in errors.items())

    def note(self, notes: Mapping[str, Any]) -> None:
        """Append facts about the run that are not part of its identity, as plain JSON."""
        if any(self.notes.get(name) != value for name, value in notes.items()):
            self._write([{"run": self.run, "notes": dict(notes)}])
            self._take({"notes": notes})

    def _take(self, row: Mapping[str, Any]) -> None:
        if "notes" in row:
            self.notes.update(row["notes"])
            return
        key = str(row["key"])
        if "error" in row:
            self.errors[key] = str(row["error"])
            self.answers.pop(key, None)
        else:
            self.answers[key] = dict(row)
            self.errors.pop(key, None)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        try:
            left = memoryview(text.encode())
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror}; the earlier answers are kept, and the same command "
                "resumes from them"
            ) from error

    def _read(self) -> bool:
        """Read the existing lines, and return whether this run has written to the file before."""
        self._file.seek(0)
        content = self._file.readall()
        whole = content[: content.rfind(b"\n") + 1]
        self.num_cut_bytes = len(content) - len(whole)
        if self.num_cut_bytes:
            self._file.truncate(len(whole))
        known = False
        others = set()
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                row = json.loads(line)
                run = row["run"]
                if run == self.run and "identity" not in row:
                    self._take(row)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.path}, line {number} is not a line of an answer log ({line[:60]!r}: {error}); move the "
                    "file away to start afresh"
                ) from error
            known |= run == self.run
            if run != self.run and "key" in row:
                others.add((run, row["key"]))
        self.num_others = len(others)
        return known


def outcome_beside(predictions: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    """What failed and what was refused, from the log that lies beside a file of labels or sentiments.

    The log's last run counts, whose labels the file holds.

    Args:
        predictions: Such as ``NAME-openset.npz``, beside ``NAME.answers.jsonl``.

    Returns:
        Sample name to reason, of failures and of refusals; ``None`` where no log lies beside the file.

    Raises:
        DataError: If the log cannot be read.
    """
    stem = re.sub(r"-openset(-sentiment)?$", "", predictions.stem)
    log = predictions.with_name(f"{stem}{LOG_SUFFIX}")
    if not log.is_file():
        return None
    failed: dict[str, str] = {}
    refused: dict[str, str] = {}
    last = None
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith("\n"):
                    break  # a kill cut it off
                row = parse_json(line, f"{log}, line {number}")
                if not isinstance(row, dict):
                    raise DataError(f"{log}, line {number} is no line of an answer log; move the file away")
                if row.get("run") != last:
                    failed, refused, last = {}, {}, row.get("run")
                key = str(row.get("key"))
                if "key" not in row:
                    continue
                failed.pop(key, None)
                refused.pop(key, None)
                if "error" in row:
                    failed[key] = str(row["error"])
                elif row.get("kind") == "refused":
                    refused[key] = str(row.get("reason"))
    except OSError as error:
        raise DataError(f"{log} cannot be read: {error.strerror}") from error
    return failed, refused
