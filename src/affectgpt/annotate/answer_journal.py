"""Keeps every answer of every stage on disk, so that none is asked for twice and a kill loses little."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from affectgpt.annotate.stage import STATUSES, Answer, Status, Usage
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of, new_file_mode, parse_json, read_json, write_whole
from affectgpt.text import clean_text

log = logging.getLogger(__name__)

LAYOUT_FILE, RUN_FILE = "layout.json", "run"
MAX_LINE_BYTES = 4 * 2**20
"""A longer line is no answer: nothing that a stage writes comes near it."""
_FORMAT = "affectgpt-answers"


@dataclass(frozen=True)
class JournalEntry:
    """One answer.

    Attributes:
        key: Of clip content, stage, identity and the fields that the stage read; see ``key_of``.
        clip: Digest of the clip's content.
        stage: The stage's name in the pipeline.
        identity: Digest of the stage's identity.
        answer: What it said.
        seconds: How long it took.
    """

    key: str
    clip: str
    stage: str
    identity: str
    answer: Answer
    seconds: float

    def to_line(self) -> str:
        """A line of the journal."""
        answer = self.answer
        line: dict[str, Any] = {"key": self.key, "clip": self.clip, "stage": self.stage, "identity": self.identity}
        line |= {"status": answer.status, "fields": dict(answer.fields), "reason": answer.reason}
        line |= {"usage": answer.usage.to_json(), "seconds": round(self.seconds, 4)}
        return clean_text(json.dumps(line, ensure_ascii=False, allow_nan=False))

    @classmethod
    def of(cls, saved: Any) -> Self:
        """Read a line that somebody else may have written.

        Raises:
            KeyError: If something is missing.
            TypeError: If something has another type.
            ValueError: If a value cannot be one.
        """
        names: tuple[str, str, str, str] = (saved["key"], saved["clip"], saved["stage"], saved["identity"])
        status: Status = saved["status"]
        fields, reason, seconds = saved["fields"], saved["reason"], float(saved["seconds"])
        if not all(isinstance(name, str) for name in names) or not isinstance(fields, dict):
            raise TypeError("a name is no text, or the fields are no object")
        if status not in STATUSES or not (reason is None or isinstance(reason, str)):
            raise ValueError(f"its status is {status!r}")
        usage = Usage(**{name: int(saved["usage"][name]) for name in ("requests", "input_tokens", "output_tokens")})
        return cls(*names, Answer(status, fields, reason, usage), seconds)


def key_of(clip: str, stage: str, identity: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """What an answer is found by: it changes whenever the answer might."""
    return digest_of([clip, stage, identity, fields])


class AnswerJournal:
    """A folder of files of JSON lines; a clip's answers are all in one file, chosen by its digest.

    Lines are on the disk when ``add`` returns. The last line of a file may be torn by a kill: it is cut off, and asked
    for again. Of two lines with one key the later one counts.

    Args:
        folder: Made if it is missing.
        partitions: Files that the answers are spread over.

    Raises:
        ConfigError: If the folder was made with another number of partitions.
        DataError: If the folder is no journal.
    """

    def __init__(self, folder: Path, partitions: int) -> None:
        self.folder, self.partitions = folder, partitions
        layout = folder / LAYOUT_FILE
        if not layout.exists():
            if folder.exists() and any(folder.iterdir()):
                raise DataError(f"{str(folder)!r} holds files, but is no journal of answers; choose another OUT")
            write_whole(layout, json.dumps({"format": _FORMAT, "partitions": partitions}) + "\n")
        found = read_json(layout, most_bytes=10_000)
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise DataError(f"{str(layout)!r} is not the layout of a journal of answers; choose another OUT")
        if found.get("partitions") != partitions:
            raise ConfigError(
                f"the answers in {str(folder)!r} are spread over {found.get('partitions')!r} files, but the pipeline "
                f"says partitions: {partitions}; give the same number, or another OUT"
            )

    def partition_of(self, clip: str) -> int:
        """The number of the file that holds a clip's answers."""
        return int(clip[:12], 16) % self.partitions

    def path(self, partition: int) -> Path:
        """A file of the journal."""
        return self.folder / f"answers-{partition:05d}.jsonl"

    def load(self, partition: int) -> dict[str, JournalEntry]:
        """The answers of a file by their key; a line that cannot be read is left out, and named in the log."""
        path = self.path(partition)
        if not path.exists():
            return {}
        _cut_torn_line(path)
        return {entry.key: entry for entry in _entries(path)}

    def add(self, entries: Sequence[JournalEntry]) -> None:
        """Append answers; they are on the disk when this returns."""
        lines = defaultdict[Path, list[str]](list)
        for entry in entries:
            lines[self.path(self.partition_of(entry.clip))].append(entry.to_line() + "\n")
        for path, texts in lines.items():
            begins = not path.exists()
            with path.open("ab") as file:
                file.write("".join(texts).encode())
                file.flush()
                os.fsync(file.fileno())
            if begins:
                _sync_folder(self.folder)

    def begin_run(self, wait_seconds: float = 60.0) -> str:
        """Make this the run whose processes may write, and wait for those of an earlier one to stop.

        A driver that is killed leaves processes on other machines that write for some moments more.

        Args:
            wait_seconds: Longest wait for one file.

        Returns:
            The run's name, for ``writing``.

        Raises:
            ConfigError: If a process of an earlier run does not stop.
        """
        name = uuid.uuid4().hex
        write_whole(self.folder / RUN_FILE, name)
        for path in self.folder.glob("answers-*.lock"):  # whoever locks later sees the new name
            with _locked(path, wait_seconds):
                pass
        return name

    @contextmanager
    def writing(self, partition: int, run: str, wait_seconds: float = 600.0) -> Iterator[None]:
        """Be the only process of a run that reads and writes one file of the journal.

        Args:
            partition: The number of the file.
            run: What ``begin_run`` returned, maybe on another machine.
            wait_seconds: Longest wait for another process.

        Raises:
            ConfigError: If another process holds the file for too long.
            DataError: If a later run has begun.
        """
        with _locked(self.path(partition).with_suffix(".lock"), wait_seconds):
            if (self.folder / RUN_FILE).read_text("utf-8") != run:
                raise DataError(f"a later run writes into {str(self.folder)!r}; this one ends")
            yield

    def spent(self) -> tuple[dict[str, Usage], dict[str, float], int]:
        """What all answers in the journal cost, by stage, those of earlier settings too; their seconds and number."""
        usage: dict[str, Usage] = {}
        seconds: dict[str, float] = {}
        number = 0
        for path in sorted(self.folder.glob("answers-*.jsonl")):
            for entry in _entries(path):
                usage[entry.stage] = usage.get(entry.stage, Usage()) + entry.answer.usage
                seconds[entry.stage] = seconds.get(entry.stage, 0.0) + entry.seconds
                number += 1
        return usage, seconds, number


def _entries(path: Path) -> Iterator[JournalEntry]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("it is cut, or too long")
                yield JournalEntry.of(parse_json(line, "the line"))
            except (KeyError, TypeError, ValueError) as error:  # DataError is a ValueError
                log.warning("%s:%d is no answer (%s); it is asked for again", path, number, error)
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)


@contextmanager
def _locked(path: Path, wait_seconds: float) -> Iterator[None]:
    try:
        with FileLock(path, timeout=wait_seconds, mode=new_file_mode()):
            yield
    except Timeout:
        raise ConfigError(
            f"another process has held {str(path)!r} for {wait_seconds:g} s: a process of an earlier run still writes "
            "there; end it, or choose another OUT"
        ) from None


def _cut_torn_line(path: Path) -> None:
    """Remove what a kill left of a last line."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        while start > 0:
            size = min(65536, start)
            file.seek(start - size)
            found = file.read(size).rfind(b"\n")
            if found >= 0:
                whole = start - size + found + 1
                if whole < end:
                    file.truncate(whole)
                return
            start -= size
        if end:
            file.truncate(0)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
