"""A file of what became of every clip, read back one clip at a time, so that millions need not be in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from affectgpt.annotate.clip_state import OUTCOMES, ClipState, Outcome
from affectgpt.errors import DataError
from affectgpt.files import draft, parse_json
from affectgpt.text import clean_text


@dataclass(frozen=True)
class ClipOutcome:
    """What became of a clip.

    Attributes:
        key: Its name.
        clip: Digest of its content.
        outcome: ``kept``, ``dropped``, ``person`` (a person has to decide) or ``failed``.
        stage: The stage that decided it; ``None`` for a clip that was simply kept.
        reasons: Stage to its reason, for every stage that gave one.
        passed: Stage to what it said, for every stage that was asked, in order.
        fields: What the clip brought along and what the stages wrote.
        given: What the clip brought along.
    """

    key: str
    clip: str
    outcome: Outcome
    stage: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    passed: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_state(cls, state: ClipState) -> Self:
        """What became of a clip that went through a pipeline."""
        said = state.to_json()
        return cls(**said, passed=state.passed, fields=state.fields, given=state.clip.given)

    @classmethod
    def of(cls, saved: Any) -> Self:
        """Read plain JSON that somebody else may have written.

        Raises:
            DataError: If it is none.
        """
        try:
            found = cls(**{name: saved[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError) as error:
            raise DataError(f"{saved!r:.100} says nothing of what became of a clip ({error!r})") from error
        texts = isinstance(found.key, str) and isinstance(found.clip, str) and found.outcome in OUTCOMES
        if not texts or not all(isinstance(m, dict) for m in (found.reasons, found.passed, found.fields, found.given)):
            raise DataError(f"{saved!r:.100} says nothing of what became of a clip")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}

    def with_outcome(self, outcome: Outcome, stage: str, reason: str | None) -> Self:
        """The same clip where something later decided otherwise."""
        reasons = {**self.reasons, **({stage: reason} if reason else {})}
        return replace(self, outcome=outcome, stage=stage, reasons=reasons)


class OutcomeFile:
    """The outcomes of a run, found by the clip's name.

    Args:
        path: A file that ``write`` made.

    Raises:
        DataError: If there is none, or it is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DataError(
                f"{str(path)!r} cannot be read ({error.strerror}); run annotate into that folder"
            ) from error
        offset = 0
        for line in self._file:
            self._offsets[self._parse(line).key] = offset
            offset += len(line)

    @classmethod
    def write(cls, path: Path, states: Iterable[ClipState]) -> Self:
        """Write down where each clip ends, and open the file."""
        with draft(path) as file, file.open("w", encoding="utf-8") as out:
            for state in states:
                line = json.dumps(ClipOutcome.of_state(state).to_json(), ensure_ascii=False)
                out.write(clean_text(line) + "\n")
        return cls(path)

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, key: object) -> bool:
        return key in self._offsets

    def __getitem__(self, key: str) -> ClipOutcome:
        self._file.seek(self._offsets[key])
        return self._parse(self._file.readline())

    def keys(self) -> list[str]:
        """The clips' names, in the order of the file."""
        return list(self._offsets)

    def __iter__(self) -> Iterator[ClipOutcome]:
        return map(self.__getitem__, self._offsets)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _parse(self, line: bytes) -> ClipOutcome:
        return ClipOutcome.of(parse_json(line, str(self.path)))
