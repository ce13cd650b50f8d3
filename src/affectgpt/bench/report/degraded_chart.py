"""Draws the curves of a system on degraded clips: one panel per kind, the clips as they are on the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.bench.degradations import KINDS
from affectgpt.bench.report.degraded_content import CurvePoint, DegradedCurves
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.pages.plotting import INK, PALE, SOFT, STRONG, new_panels, to_png

EXTRA = "report"
_COLUMNS = 3


def draw_degraded(curves: DegradedCurves, sets: Sequence[TestSet]) -> bytes:
    """Plot the score over the strength of every kind.

    One set is drawn with its 95 % intervals; of several, each is a thin line and their mean a thick one. The dashed
    line is the score on the clips as they are.

    Args:
        curves: The curves of one system.
        sets: The sets in order.

    Returns:
        The bytes of a PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    columns = min(_COLUMNS, len(curves.curves))
    rows = -(-len(curves.curves) // columns)
    width = 2.9 * _COLUMNS if columns > 1 else 5.2
    figure, panels = new_panels(rows, columns, width, 0.3 + 2.35 * rows, grid="y", extra=EXTRA)
    named = [one.name for one in sets if one.name in curves.clean.cells]
    highest = max(
        (cell.high or cell.score or 0.0 for points in curves.curves.values() for one in (curves.clean, *points)
         for cell in one.cells.values()),
        default=1.0,
    )  # fmt: skip
    for number, axes in enumerate(panels):
        if number >= len(curves.curves):
            axes.set_visible(False)
            continue
        kind = list(curves.curves)[number]
        points = (curves.clean, *curves.curves[kind])
        for name in named:
            _draw_set(axes, points, name, alone=len(named) == 1)
        if len(named) > 1:
            _draw_line(axes, [one.mean for one in points], STRONG, 2.2)
        start = curves.clean.mean
        if start is not None:
            axes.axhline(100 * start, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.set_title(KINDS[kind].title, fontsize=10.5, color=INK, loc="left")
        axes.set_xticks(range(len(points)), ["clean", *(f"{one.strength:g}" for one in points[1:])])
        axes.set_xlabel(KINDS[kind].unit, color=SOFT, fontsize=8.5)
        axes.set_ylim(0, min(103.0, 100 * highest + 6))
        axes.set_xlim(-0.3, len(points) - 0.7)
    return to_png(figure)


def _draw_set(axes: Any, points: Sequence[CurvePoint], name: str, *, alone: bool) -> None:
    cells = [one.cells.get(name) for one in points]
    if alone:
        for at, cell in enumerate(cells):
            if cell is not None and cell.low is not None and cell.high is not None:
                axes.plot(
                    [at, at], [100 * cell.low, 100 * cell.high], color=PALE, linewidth=3.4, solid_capstyle="round"
                )
    scores = [None if cell is None else cell.score for cell in cells]
    _draw_line(axes, scores, STRONG if alone else PALE, 1.6 if alone else 1.1)


def _draw_line(axes: Any, scores: Sequence[float | None], color: str, width: float) -> None:
    known = [(at, 100 * score) for at, score in enumerate(scores) if score is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "o-", color=color, linewidth=width, markersize=3.2 + width)
