"""Draws the plots of the HTML report: the sets beside a published row, and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.bench.report.content import Cell, PublishedLine, Report
from affectgpt.bench.report.figure_names import shown
from affectgpt.bench.result import ClassFigures
from affectgpt.pages.plotting import INK, SOFT, STRONG, STRONG_HIT, new_figure, to_png

EXTRA = "report"
_COLORS = (STRONG, STRONG_HIT, "#1d7a4c", "#b5651d", "#5d6577")
_MOST_SYSTEMS = len(_COLORS)
_LEAST_SPAN = 30.0


def draw_sets(report: Report, reference: PublishedLine | None) -> bytes:
    """Plot the honest score of every system on every set with its interval, and one published row.

    A figure of a checkpoint that was chosen with test labels is a hollow dot beside it.

    Args:
        report: The report to plot.
        reference: The published row to plot.

    Returns:
        The bytes of a PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    sets, systems = report.sets, report.systems[:_MOST_SYSTEMS]
    figure, axes = new_figure(
        7.4, 1.1 + 0.42 * len(sets) + 0.16 * len(sets) * (len(systems) - 1), grid="x", extra=EXTRA
    )
    for number, (row, color) in enumerate(zip(systems, _COLORS, strict=False)):
        shift = (number - (len(systems) - 1) / 2) * 0.62 / len(systems)
        for at, test_set in enumerate(sets):
            cell = row.cells.get(test_set.name)
            if cell is not None:
                _draw_cell(axes, cell, at + shift, color)
        axes.plot([], [], "o-", color=color, label=_text(row.system))
    if any(row.optimistic for row in systems):
        hollow = {"markerfacecolor": "none", "markeredgecolor": SOFT, "linestyle": "none"}
        axes.plot([], [], "o", label="best on the test set: optimistic", **hollow)
    if reference is not None:
        marked = [(100 * reference.scores[s.name], i) for i, s in enumerate(sets) if s.name in reference.scores]
        axes.plot(
            [x for x, _ in marked],
            [y for _, y in marked],
            "D",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=INK,
            label=f"{reference.system} ({reference.inputs}), published",
        )
    axes.set_yticks(range(len(sets)), [s.title for s in sets], color=INK)
    axes.set_ylim(len(sets) - 0.4, -0.6)
    low, high = axes.get_xlim()
    spare = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_xlim(max(0.0, low - spare), min(100.0, high + spare))
    axes.set_xlabel("percent", color=SOFT)
    axes.legend(frameon=False, labelcolor=SOFT, ncols=2, fontsize=9.5, loc="lower left", bbox_to_anchor=(0, 1.0))
    return to_png(figure)


def _draw_cell(axes: Any, cell: Cell, at: float, color: str) -> None:
    if cell.honest_low is not None and cell.honest_high is not None:
        axes.plot([100 * cell.honest_low, 100 * cell.honest_high], [at, at], color=color, linewidth=2.2)
    if cell.honest is not None:
        axes.plot([100 * cell.honest], [at], "o", color=color, markersize=7, clip_on=False)
    if cell.optimistic and cell.score is not None:
        axes.plot([100 * cell.score], [at], "o", color=color, markersize=7, markerfacecolor="none", clip_on=False)


def draw_classes(classes: Sequence[ClassFigures], figure_name: str, title: str) -> bytes:
    """Plot the score of every true class as a bar, with its number of samples.

    Args:
        classes: The classes with their figures; a class without a value has no bar.
        figure_name: Name of the figure, which is a fraction.
        title: Title of the figure.

    Returns:
        The bytes of a PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure(5.6, 0.9 + 0.31 * max(2, len(classes)), grid="x", extra=EXTRA)
    values = [one.figures.get(figure_name) for one in classes]
    rows = range(len(classes))
    axes.barh(rows, [100 * value if value is not None else 0 for value in values], 0.66, color=STRONG)
    for value, at in zip(values, rows, strict=True):
        text = "not in the wheels" if value is None else f"{100 * value:.1f}"
        axes.text(100 * (value or 0) + 1, at, text, va="center", color=INK if value is not None else SOFT, fontsize=9.5)
    axes.set_yticks(rows, [f"{_text(one.label)} ({one.samples:,})" for one in classes], color=INK)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(f"{title}, percent", color=SOFT)
    return to_png(figure)


def _text(label: object) -> str:
    # Matplotlib reads a dollar sign as the start of a formula.
    return shown(label, 24).replace("$", r"\$")
