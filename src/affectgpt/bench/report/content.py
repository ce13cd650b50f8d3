"""Collects the results of one or several systems in one table, with the caveats."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from affectgpt import __version__
from affectgpt.bench.published import PublishedRow, Source, published_rows
from affectgpt.bench.report.degraded_content import DegradedCurves, degraded_curves
from affectgpt.bench.report.doubts import doubts_of
from affectgpt.bench.report.view_content import ViewTable, view_tables
from affectgpt.bench.result import SetResult
from affectgpt.bench.selection import RULES, means_by_checkpoint
from affectgpt.bench.settings import settings_of
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet, get_test_set
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of


@dataclass(frozen=True)
class Cell:
    """One figure of the main table; attributes that do not apply are ``None``.

    Attributes:
        score: The set's own figure, a fraction; ``low`` and ``high`` are the ends of its interval.
        rule: How the checkpoint was chosen, if there were several.
        optimistic: Whether the choice used test labels.
        honest: The figure by an honest rule, or the score itself if no choice used test labels; then its interval.
        spread: Standard deviation over several runs, if the score is their mean; ``None`` for one run.
        runs: Number of runs.
    """

    score: float | None
    low: float | None
    high: float | None
    rule: str | None
    optimistic: bool
    honest: float | None
    honest_low: float | None
    honest_high: float | None
    spread: float | None = None
    runs: int = 1


@dataclass(frozen=True)
class SystemRow:
    """One system in the main table.

    Attributes:
        system: Name of the system.
        cells: The figures by name of the set.
        mean: Mean over all sets; ``None`` if one is missing.
        honest_mean: Mean of the honest figures.
        optimistic: Whether any figure is optimistic.
        one_checkpoint: Checkpoint to the mean over all sets with this checkpoint alone.
    """

    system: str
    cells: Mapping[str, Cell]
    mean: float | None
    honest_mean: float | None
    optimistic: bool
    one_checkpoint: Mapping[str, float]


@dataclass(frozen=True)
class PublishedLine:
    """One published row, restricted to the sets of the report.

    Attributes:
        system: The model.
        inputs: Its input modalities.
        scores: The figures by name of the set.
        mean: Mean of the nine sets as printed; in a report of fewer sets, the mean of these.
        source: The publication.
    """

    system: str
    inputs: str
    scores: Mapping[str, float]
    mean: float | None
    source: str


@dataclass(frozen=True)
class Report:
    """The content of a report, from which its files are written.

    Attributes:
        title: Heading of the report.
        made: Date of the report.
        version: Version of this library.
        sets: The test sets, in the order of the benchmark.
        systems: Rows of the main table.
        published: Published rows for comparison.
        sources: Sources of the published rows.
        doubts: Caveats for the reader of the figures.
        views: Tables of the systems that were asked by views.
        degraded: Curves of the systems that were asked about degraded clips.
        results: The complete results.
        settings: Everything that changes figures, see ``settings_of``.
    """

    title: str
    made: str
    version: str
    sets: tuple[TestSet, ...]
    systems: tuple[SystemRow, ...]
    published: tuple[PublishedLine, ...]
    sources: tuple[Source, ...]
    doubts: tuple[str, ...]
    views: tuple[ViewTable, ...]
    degraded: tuple[DegradedCurves, ...]
    results: tuple[SystemResult, ...]
    settings: Mapping[str, Any]

    @property
    def settings_hash(self) -> str:
        """One hash of all settings: reports with the same hash are comparable."""
        return digest_of(self.settings)

    def cell_of(self, result: SystemResult) -> Cell:
        """The cell of the main table for a result."""
        row = next(row for row in self.systems if row.system == result.system)
        return row.cells[result.result.dataset]

    def to_json(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return {
            "title": self.title,
            "made": self.made,
            "affectgpt": self.version,
            "sets": [{"dataset": s.name, "title": s.title, "metric": s.metric, "task": s.task} for s in self.sets],
            "systems": [asdict(row) for row in self.systems],
            "published": [asdict(line) for line in self.published],
            "sources": [asdict(source) for source in self.sources],
            "warnings": list(self.doubts),
            "settings": self.settings,
            "settings_hash": self.settings_hash,
            **({"views": [table.to_json() for table in self.views]} if self.views else {}),
            **({"degraded": [curves.to_json() for curves in self.degraded]} if self.degraded else {}),
            "results": [result.to_json() for result in self.results],
        }


def build_report(results: Sequence[SystemResult | SetResult], title: str) -> Report:
    """Build a report from results.

    Args:
        results: See ``write_report``.
        title: Heading of the report.

    Raises:
        ConfigError: If a set or a selection rule does not exist.
        DataError: If there are no results, one has the wrong type, or a system has two results for one set.
    """
    if not results:
        raise DataError("there are no results to report; pass at least one, as returned by affectgpt.bench.score")
    checked = tuple(_checked(result, number) for number, result in enumerate(results))
    named = {get_test_set(one.result.dataset).name for one in checked}
    sets = tuple(test_set for name, test_set in TEST_SETS.items() if name in named)
    by_system: dict[str, dict[str, SystemResult]] = {}
    for one in checked:
        found = by_system.setdefault(one.system, {})
        if one.result.dataset in found:
            raise DataError(f"system {one.system!r} has two results for {one.result.dataset!r}; pass one of them")
        found[one.result.dataset] = one
    all_nine = len(sets) == len(TEST_SETS)
    rows = [r for r in published_rows() if any(s.name in r.scores for s in sets) or (all_nine and r.mean is not None)]
    return Report(
        title=title,
        made=datetime.date.today().isoformat(),
        version=__version__,
        sets=sets,
        systems=tuple(_system(name, found, sets) for name, found in by_system.items()),
        published=tuple(_published(row, sets) for row in rows),
        sources=tuple({row.source.citation: row.source for row in rows}.values()),
        doubts=tuple(doubts_of(checked)),
        views=view_tables(checked, sets),
        degraded=degraded_curves(checked, sets),
        results=checked,
        settings=settings_of(checked),
    )


def mean_title(report: Report) -> str:
    """Heading of the column of means."""
    number = len(report.sets)
    return "mean" if number == len(TEST_SETS) else f"mean of {number}"


def mean_of(scores: Iterable[float | None]) -> float | None:
    """The plain mean; ``None`` if a score is missing."""
    listed = list(scores)
    known = [score for score in listed if score is not None]
    return sum(known) / len(known) if known and len(known) == len(listed) else None


def _checked(result: object, number: int) -> SystemResult:
    one = SystemResult(result) if isinstance(result, SetResult) else result
    if not isinstance(one, SystemResult):
        raise DataError(
            f"result {number} is {result!r:.60}; pass what affectgpt.bench.score returns, or SystemResult(..., system)"
        )
    get_test_set(one.result.dataset)
    if one.selection is not None and one.selection.rule not in RULES:
        raise ConfigError(f"result {number} was selected by {one.selection.rule!r}; known rules: {', '.join(RULES)}")
    return one


def _system(name: str, found: Mapping[str, SystemResult], sets: Sequence[TestSet]) -> SystemRow:
    cells = {dataset: _cell(one) for dataset, one in found.items()}
    means = means_by_checkpoint([one.selection for one in found.values()])
    return SystemRow(
        system=name,
        cells=cells,
        mean=mean_of(cells[s.name].score if s.name in cells else None for s in sets),
        honest_mean=mean_of(cells[s.name].honest if s.name in cells else None for s in sets),
        optimistic=any(cell.optimistic for cell in cells.values()),
        one_checkpoint=means,
    )


def _cell(one: SystemResult) -> Cell:
    interval, selection = one.result.interval, one.selection
    low, high = (_finite(interval.low), _finite(interval.high)) if interval else (None, None)
    score = _finite(one.result.score)
    spread, runs = None, 1
    if one.repeats is not None:
        score, low, high = _finite(one.repeats.mean), one.repeats.low, one.repeats.high
        spread, runs = _finite(one.repeats.spread), len(one.repeats.scores)
    if selection is None or not selection.optimistic:
        rule = selection.rule if selection else None
        return Cell(score, low, high, rule, False, score, low, high, spread, runs)
    honest = selection.honest
    ends = honest.interval if honest else None
    honest_low, honest_high = (_finite(ends.low), _finite(ends.high)) if ends else (None, None)
    honest_score = _finite(honest.score) if honest else None
    return Cell(score, low, high, selection.rule, True, honest_score, honest_low, honest_high, spread, runs)


def _published(row: PublishedRow, sets: Sequence[TestSet]) -> PublishedLine:
    scores = {s.name: row.scores[s.name] for s in sets if s.name in row.scores}
    mean = row.mean if len(sets) == len(TEST_SETS) else mean_of(row.scores.get(s.name) for s in sets)
    return PublishedLine(row.system, row.inputs, scores, mean, row.source.citation)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
