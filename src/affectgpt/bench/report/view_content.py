"""Collects the views of a system for the report: its scores by shown modalities, and published ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from affectgpt.bench.published import PublishedViews, published_views
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet
from affectgpt.metrics.functional import Interval

VIEWS = ("A", "V", "T", "AV", "AT", "VT", "AVT")
"""The views of sound (A), picture (V) and words (T), in the order of tables and plots."""

WHOLE = "AVT"
"""The view that the others are compared with."""


@dataclass(frozen=True)
class ViewCell:
    """One view on one set; figures are fractions, and those that do not apply are ``None``.

    Attributes:
        score: The set's own figure; ``low`` and ``high`` are the ends of its interval.
        difference: The score minus that of the whole view, on the same samples; then the ends of its interval. ``None``
            for the whole view itself.
    """

    score: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True)
class ViewTable:
    """The views of one system.

    Attributes:
        system: Name of the system.
        cells: View to set to figures, views in the order of ``VIEWS``.
        means: View to the mean over the sets; ``None`` if one is missing.
    """

    system: str
    cells: Mapping[str, Mapping[str, ViewCell]]
    means: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The table as plain JSON."""
        return asdict(self)


def view_tables(results: Sequence[SystemResult], sets: Sequence[TestSet]) -> tuple[ViewTable, ...]:
    """The tables of the systems that were asked by views."""
    tables = []
    for system in dict.fromkeys(one.system for one in results if one.views):
        own = {one.result.dataset: one for one in results if one.system == system and one.views}
        cells = {view: {name: _cell(one, view) for name, one in own.items()} for view in VIEWS}
        known = {view: {name: cell for name, cell in found.items() if cell} for view, found in cells.items()}
        means = {
            view: mean_of([found[s.name].score if s.name in found else None for s in sets])
            for view, found in known.items()
            if found
        }
        tables.append(ViewTable(system, {view: found for view, found in known.items() if found}, means))
    return tuple(tables)


def published_beside(sets: Sequence[TestSet]) -> list[PublishedViews]:
    """The published rows by view that are about these sets."""
    names = {test_set.name for test_set in sets} | ({"mean"} if len(sets) == len(TEST_SETS) else set())
    return [row for row in published_views() if row.dataset in names]


def _cell(one: SystemResult, view: str) -> ViewCell | None:
    if view == WHOLE:
        return cell_of(one.result.score, one.result.interval)
    found = (one.views or {}).get(view)
    return None if found is None else cell_of(found.a.score.value, found.a.score, found.difference)


def cell_of(score: float, ends: Interval | None, difference: Interval | None = None) -> ViewCell:
    """The figures of a cell: a score with its interval, and the difference to what it is compared with."""
    low, high = (None, None) if ends is None else (_finite(ends.low), _finite(ends.high))
    if difference is None:
        return ViewCell(_finite(score), low, high, None, None, None)
    return ViewCell(_finite(score), low, high, *map(_finite, (difference.value, difference.low, difference.high)))


def mean_of(scores: Sequence[float | None]) -> float | None:
    """The mean over the sets; ``None`` if one is missing."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
