"""Draws the plot of a system's views: one panel per set, one line per view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.bench.report.view_content import VIEWS, WHOLE, ViewCell, ViewTable, published_beside
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.pages.plotting import INK, PALE, SOFT, STRONG, new_panels, to_png

EXTRA = "report"
_COLUMNS = 3
_LEAST_SPAN = 12.0


def draw_views(table: ViewTable, sets: Sequence[TestSet]) -> bytes:
    """Plot the score of every view on every set with its interval, and a line at the whole view.

    Hollow diamonds are the first published row with views of the set, if there is one.

    Args:
        table: The views of one system.
        sets: The sets in order.

    Returns:
        The bytes of a PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    columns = min(_COLUMNS, len(sets))
    rows = -(-len(sets) // columns)
    figure, panels = new_panels(rows, columns, 2.9 * columns if columns > 1 else 6.2, 0.35 + 2.15 * rows, extra=EXTRA)
    published = {row.dataset: row for row in reversed(published_beside(sets))}
    shown = [view for view in VIEWS if view in table.cells]
    for number, axes in enumerate(panels):
        if number >= len(sets):
            axes.set_visible(False)
            continue
        test_set = sets[number]
        for at, view in enumerate(shown):
            cell = table.cells[view].get(test_set.name)
            if cell is not None:
                _draw(axes, cell, at, STRONG if view == WHOLE else PALE)
        whole = table.cells.get(WHOLE, {}).get(test_set.name)
        if whole is not None and whole.score is not None:
            axes.axvline(100 * whole.score, color=STRONG, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        row = published.get(test_set.name)
        if row is not None:
            marks = [(100 * row.scores[view], at) for at, view in enumerate(shown) if view in row.scores]
            axes.plot(*zip(*marks, strict=True), "D", markersize=5, markerfacecolor="none", markeredgecolor=SOFT)
            axes.plot([], [], "D", markersize=5, markerfacecolor="none", markeredgecolor=SOFT, label=row.title)
            axes.legend(frameon=False, labelcolor=SOFT, fontsize=7.5, loc="upper left", bbox_to_anchor=(-0.02, -0.12))
        axes.set_title(test_set.title, fontsize=10.5, color=INK, loc="left")
        axes.set_yticks(range(len(shown)), shown if number % columns == 0 else [""] * len(shown), color=INK)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        _widen(axes)
    return to_png(figure)


def _draw(axes: Any, cell: ViewCell, at: int, color: str) -> None:
    if cell.low is not None and cell.high is not None:
        axes.plot([100 * cell.low, 100 * cell.high], [at, at], color=color, linewidth=3.4, solid_capstyle="round")
    if cell.score is not None:
        axes.plot([100 * cell.score], [at], "o", color=STRONG, markersize=5.5)


def _widen(axes: Any) -> None:
    """Let a panel span at least some points, so that noise does not look like a difference."""
    low, high = axes.get_xlim()
    spare = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_xlim(max(-1.0, low - spare), min(101.0, high + spare))
