"""What people decided about clips: an append-only file with who and when."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import parse_json
from affectgpt.text import clean_name, clean_text

Decision = Literal["accept", "edit", "reject", "prefer"]
DECISIONS: tuple[Decision, ...] = ("accept", "edit", "reject", "prefer")
EDITABLE = ("description", "labels", "subtitle")


@dataclass(frozen=True)
class Verdict:
    """One decision of one person about one clip.

    Attributes:
        key: The clip's name.
        clip: Digest of its content.
        who: The person's name.
        when: Time in UTC, ISO 8601.
        decision: ``accept`` (as it is), ``edit`` (with ``changes``), ``reject``, or ``prefer`` between two
            descriptions, which leaves the clip as it is.
        changes: For ``edit``: the fields that replace those of the engine. For ``accept``: the same fields as they were
            shown, where the log must tell them, or nothing. For ``prefer``: ``a``, ``b`` and ``preferred`` (``"a"``,
            ``"b"`` or ``"same"``).
        engine: What the engine had decided when the person looked: ``kept``, ``dropped``, ``person`` or ``failed``.
        note: A remark, or empty.
    """

    key: str
    clip: str
    who: str
    when: str
    decision: Decision
    changes: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "kept"
    note: str = ""

    def __post_init__(self) -> None:
        if self.decision not in DECISIONS:
            raise ConfigError(f"the decision is {self.decision!r}; choose one of {', '.join(DECISIONS)}")
        if not clean_name(self.who):
            raise ConfigError("a decision needs the name of who made it; give --who NAME")
        if self.decision == "edit" or (self.decision == "accept" and self.changes):
            _check_changes(self.changes)
        if self.decision == "prefer" and self.changes.get("preferred") not in ("a", "b", "same"):
            raise ConfigError(f"preferred is {self.changes.get('preferred')!r}; it must be a, b or same")

    @classmethod
    def of(cls, saved: Any, where: str) -> Self:
        """Read a line of the file.

        Raises:
            DataError: If it is none.
        """
        try:
            found = cls(**{name: saved[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ConfigError) as error:
            raise DataError(f"{where} is no decision of a person ({error}); mend or remove the line") from error
        if not all(isinstance(getattr(found, name), str) for name in ("key", "clip", "who", "when", "engine", "note")):
            raise DataError(f"{where} is no decision of a person; mend or remove the line")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "changes": dict(self.changes)}


def now() -> str:
    """The time, as the log writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class ReviewLog:
    """The file; nothing in it is ever changed, and a later decision of the same person about a clip counts.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, verdict: Verdict) -> None:
        """Add a decision; it is on the disk when this returns."""
        line = clean_text(json.dumps(verdict.to_json(), ensure_ascii=False))
        with self.path.open("ab+") as file:
            if file.tell() and not _ends_with_newline(file):  # a kill tore the line before
                file.write(b"\n")
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Verdict]:
        """Every decision, in order.

        Raises:
            DataError: If a whole line is none; the last line, torn by a kill, is left out.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")
        found = []
        for number, line in enumerate(lines, start=1):
            where = f"{self.path}:{number}"
            if not line.strip():
                continue
            try:
                found.append(Verdict.of(parse_json(line, where), where))
            except DataError:
                if number == len(lines):
                    continue
                raise
        return found

    def latest(self) -> dict[str, dict[str, Verdict]]:
        """Clip to person to the last decision that counts for the data set: accept, edit or reject."""
        found: dict[str, dict[str, Verdict]] = {}
        for verdict in self.read():
            if verdict.decision != "prefer":
                found.setdefault(verdict.key, {})[verdict.who] = verdict
        return found


def _check_changes(changes: Mapping[str, Any]) -> None:
    unknown = [name for name in changes if name not in EDITABLE]
    if not changes or unknown:
        raise ConfigError(f"an edit changes {', '.join(EDITABLE)}, but got {list(changes)!r}")
    for name, value in changes.items():
        labels = isinstance(value, list) and all(isinstance(label, str) and label.strip() for label in value)
        if not (labels if name == "labels" else isinstance(value, str) and value.strip()):
            raise ConfigError(f"{name} is changed to {value!r:.80}; give {'labels' if name == 'labels' else 'a text'}")


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")
