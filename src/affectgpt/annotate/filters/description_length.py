"""Drops descriptions that are much shorter or longer than the others of the set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from affectgpt.annotate.card_counts import quantile
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.errors import ConfigError

UNITS = ("characters", "words")


class DescriptionLengthStage(Stage):
    """Drops both tails of the lengths of descriptions, by quantiles of this very set.

    Fixed bounds do not carry over: the published cuts of 200 and 600 fit Chinese characters (they keep 96 % of the
    OV-MERD descriptions) and keep 2 % of the same descriptions in English.

    Args:
        low: Share of the clips below which a description is too short, from 0.
        high: Share of the clips above which it is too long, to 1.
        unit: ``characters``, or ``words`` for languages that put spaces between them.
        least: Fewer descriptions than this have no tails: all of them stay.
        field: The field that holds the description.

    Raises:
        ConfigError: If the shares are no range, or the unit is unknown.
    """

    writes = ("description_length",)
    surveys = True

    def __init__(
        self,
        low: float = 0.02,
        high: float = 0.98,
        unit: str = "characters",
        least: int = 100,
        field: str = "description",
    ) -> None:
        if not 0 <= low < high <= 1:
            raise ConfigError(f"low is {low}, high is {high}; give two shares of the clips, 0 <= low < high <= 1")
        if unit not in UNITS:
            raise ConfigError(f"unit is {unit!r}; choose {' or '.join(UNITS)}")
        self.reads = (field,)
        self._field, self._low, self._high, self._unit, self._least = field, low, high, unit, least

    def identity(self) -> dict[str, Any]:
        """The shares and the unit."""
        return {"low": self._low, "high": self._high, "unit": self._unit, "least": self._least, "field": self._field}

    def survey(self, records: Iterable[ClipRecord]) -> Mapping[str, Any]:
        """The lengths at both shares."""
        lengths = Counter(self._length(record) for record in records)
        number = sum(lengths.values())
        bounds = [quantile(lengths, self._low), quantile(lengths, self._high)]
        return {"bounds": bounds if number >= max(self._least, 1) else None}

    def answer(self, record: ClipRecord) -> Answer:
        """Keep or drop one description."""
        length = self._length(record)
        found = {"description_length": length}
        bounds = (self.surveyed or {}).get("bounds")
        if bounds is None:
            return Answer(fields=found)
        low, high = bounds
        if length < low:
            return Answer.drop(f"its description has {length} {self._unit}, fewer than {low}", found)
        if length > high:
            return Answer.drop(f"its description has {length} {self._unit}, more than {high}", found)
        return Answer(fields=found)

    def _length(self, record: ClipRecord) -> int:
        text = record.text(self._field)
        return len(text) if self._unit == "characters" else len(text.split())
