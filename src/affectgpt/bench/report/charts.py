"""The pictures of the benchmark's report: the sets beside published rows, and the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.bench.report.figure_names import shown
from affectgpt.pages.plotting import INK, SOFT, STRONG, STRONG_HIT, new_figure, to_png

EXTRA = "report"
_COLORS = (STRONG, STRONG_HIT, "#1d7a4c", "#b5651d", "#5d6577")
_MOST_SYSTEMS = len(_COLORS)
_LEAST_SPAN = 30.0


def draw_sets(content: Mapping[str, Any], reference: Mapping[str, Any] | None) -> bytes:
    """Every system's score with its interval on every set, and one published row as a mark.

    Args:
        content: From ``build_content``.
        reference: One of its published rows.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    sets, systems = content["sets"], content["systems"][:_MOST_SYSTEMS]
    figure, axes = new_figure(
        8.4, 1.1 + 0.42 * len(sets) + 0.16 * len(sets) * (len(systems) - 1), grid="x", extra=EXTRA
    )
    for number, (system, color) in enumerate(zip(systems, _COLORS, strict=False)):
        shift = (number - (len(systems) - 1) / 2) * 0.62 / len(systems)
        for place, test_set in enumerate(sets):
            cell = system["cells"].get(test_set["dataset"])
            if cell is None or cell["score"] is None:
                continue
            if cell["low"] is not None:
                axes.plot([100 * cell["low"], 100 * cell["high"]], [place + shift] * 2, color=color, linewidth=2.2)
            axes.plot([100 * cell["score"]], [place + shift], "o", color=color, markersize=7)
        axes.plot([], [], "o-", color=color, label=_text(system["system"]))
    if reference is not None:
        marked = [
            (100 * reference["scores"][s["dataset"]], i)
            for i, s in enumerate(sets)
            if s["dataset"] in reference["scores"]
        ]
        axes.plot(
            [x for x, _ in marked],
            [y for _, y in marked],
            "D",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=INK,
            label=f"{reference['system']} ({reference['inputs']}), published",
        )
    axes.set_yticks(range(len(sets)), [f"{s['title']}" for s in sets], color=INK)
    axes.set_ylim(len(sets) - 0.4, -0.6)
    low, high = axes.get_xlim()
    spare = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_xlim(max(0.0, low - spare), min(100.0, high + spare))
    axes.set_xlabel("percent", color=SOFT)
    axes.legend(frameon=False, labelcolor=SOFT, ncols=2, fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1.0))
    return to_png(figure)


def draw_classes(classes: Sequence[Mapping[str, Any]], figure_name: str, title: str) -> bytes:
    """The score of every true class as a bar, with its number of samples.

    Args:
        classes: With ``label``, ``samples`` and the figure; a class without a value has an empty place.
        figure_name: The figure, a fraction.
        title: What it is called.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure(5.6, 0.9 + 0.31 * max(2, len(classes)), grid="x", extra=EXTRA)
    values = [row.get(figure_name) for row in classes]
    place = range(len(classes))
    axes.barh(place, [100 * value if value is not None else 0 for value in values], 0.66, color=STRONG)
    for value, at in zip(values, place, strict=True):
        text = "not in the wheels" if value is None else f"{100 * value:.1f}"
        axes.text(100 * (value or 0) + 1, at, text, va="center", color=INK if value is not None else SOFT, fontsize=8.5)
    axes.set_yticks(place, [f"{_text(row['label'])} ({row['samples']:,})" for row in classes], color=INK)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(f"{title}, percent", color=SOFT)
    return to_png(figure)


def _text(label: object) -> str:
    # A dollar sign would begin a formula.
    return shown(label, 24).replace("$", r"\$")
