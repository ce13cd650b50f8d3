"""Collects the scores of a system on degraded clips for the report: a curve for each kind of degradation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from affectgpt.bench.degradations import KINDS
from affectgpt.bench.report.view_content import ViewCell, cell_of, mean_of
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules.unibench.sets import TestSet


@dataclass(frozen=True)
class CurvePoint:
    """One strength of a degradation.

    Attributes:
        strength: In the unit of the kind.
        cells: Set to figures.
        mean: Mean score over the sets; ``None`` if one is missing.
    """

    strength: float
    cells: Mapping[str, ViewCell]
    mean: float | None


@dataclass(frozen=True)
class DegradedCurves:
    """The curves of one system.

    Attributes:
        system: Name of the system.
        clean: The clips as they are.
        curves: Kind to its points, from mild to strong.
    """

    system: str
    clean: CurvePoint
    curves: Mapping[str, tuple[CurvePoint, ...]]

    def to_json(self) -> dict[str, Any]:
        """The curves as plain JSON, with the unit of each strength."""
        plain = asdict(self)
        return plain | {"units": {kind: KINDS[kind].unit for kind in self.curves}}


def degraded_curves(results: Sequence[SystemResult], sets: Sequence[TestSet]) -> tuple[DegradedCurves, ...]:
    """The curves of the systems that were asked about degraded clips."""
    found = []
    for system in dict.fromkeys(one.system for one in results if one.degraded):
        own = {one.result.dataset: one for one in results if one.system == system and one.degraded}
        clean = {name: cell_of(one.result.score, one.result.interval) for name, one in own.items()}
        points: dict[tuple[str, float], dict[str, ViewCell]] = {}
        for name, one in own.items():
            for degraded in one.degraded or ():
                compared = degraded.comparison
                cell = cell_of(compared.a.score.value, compared.a.score, compared.difference)
                points.setdefault((degraded.kind, degraded.strength), {})[name] = cell
        curves: dict[str, list[CurvePoint]] = {}
        for (kind, strength), cells in points.items():
            curves.setdefault(kind, []).append(_point(strength, cells, sets))
        ordered = {kind: tuple(curves[kind]) for kind in KINDS if kind in curves}
        found.append(DegradedCurves(system, _point(0.0, clean, sets), ordered))
    return tuple(found)


def _point(strength: float, cells: Mapping[str, ViewCell], sets: Sequence[TestSet]) -> CurvePoint:
    return CurvePoint(strength, cells, mean_of([cells[s.name].score if s.name in cells else None for s in sets]))
