"""The table that watching a film gives: a row for each stretch and person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

UNSURE = "unsure"


@dataclass(frozen=True)
class Row:
    """An answer about one person in one stretch of a film.

    Attributes:
        start_seconds: Where the stretch begins.
        end_seconds: Where it ends.
        person: Number of the person, from 1; ``None`` where no face is to be seen.
        speaks: Whether the person speaks: ``yes`` or ``no`` where it was judged, ``alone`` for the only face while
            somebody speaks, ``unknown`` where it was not judged, empty where nobody speaks.
        words: What is said, or ``None`` if nothing is, or nobody knows.
        labels: Emotion labels; empty for an answer that is unsure.
        sentiment: ``positive``, ``negative``, ``neutral`` or ``None``.
        confidence: How sure the answer is: in [0, 1]; the probability of being right if it was calibrated.
        is_unsure: Whether the confidence is below the bound that was asked for.
        text: The model's answer, word for word.
        used: Inputs that the model was shown.
        missing: Inputs that were not there, with the reason.
    """

    start_seconds: float
    end_seconds: float
    person: int | None
    speaks: str
    words: str | None
    labels: tuple[str, ...]
    sentiment: str | None
    confidence: float
    is_unsure: bool
    text: str
    used: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        rounded = {name: round(getattr(self, name), 4) for name in ("start_seconds", "end_seconds", "confidence")}
        return asdict(self) | rounded | {"labels": list(self.labels), "used": list(self.used)}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Row:
        """Read ``to_json``.

        Raises:
            KeyError: If something is missing.
        """
        values = {one.name: saved[one.name] for one in fields(cls)}
        return cls(**{**values, "labels": tuple(values["labels"]), "used": tuple(values["used"])})

    @property
    def answer(self) -> str:
        """The labels in words."""
        return UNSURE if self.is_unsure else ", ".join(self.labels)

    @property
    def name(self) -> str:
        """The person in words."""
        return "nobody seen" if self.person is None else f"person {self.person}"


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each person, in order of appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return found
