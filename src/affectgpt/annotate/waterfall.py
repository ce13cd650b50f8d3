"""Draws how many clips each stage let through, dropped, sent to a person or failed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.pages.plotting import INK, PALE, SOFT, STRONG, STRONG_HIT, new_figure, to_png

DROPPED, FAILED, PERSON = STRONG_HIT, "#8a8f9c", "#e0b354"
_SHOWN = 28


def draw_waterfall(stages: Sequence[Mapping[str, Any]], clips: int, kept: int) -> bytes:
    """A bar a stage: what goes on at the left, and what it took out beside it; as PNG.

    Args:
        stages: Rows of the data card, with ``as``, ``asked``, ``done``, ``dropped``, ``person`` and ``failed``.
        clips: Clips at the start.
        kept: Clips at the end.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    rows: list[tuple[str, int, int, int, int]] = [
        ("clips", clips, 0, 0, 0),
        *map(_row, stages),
        ("kept", kept, 0, 0, 0),
    ]
    figure, axes = new_figure(8.4, 0.9 + 0.42 * len(rows), grid="x", extra="annotate")
    places = range(len(rows))
    left = [0] * len(rows)
    parts = (("goes on", STRONG), ("to a person, goes on", PERSON), ("dropped", DROPPED), ("failed", FAILED))
    for number, (name, colour) in enumerate(parts):
        values = [row[1:][number] for row in rows]
        colours = [PALE if row[0] in ("clips", "kept") and not number else colour for row in rows]
        axes.barh(places, values, left=left, color=colours, height=0.62)
        axes.barh([0], [0], color=colour, label=name)
        for place, value, start in zip(places, values, left, strict=True):
            if value and number:
                axes.text(start + value / 2, place, f"{value:,}", ha="center", va="center", fontsize=8, color="white")
        left = [start + value for start, value in zip(left, values, strict=True)]
    for place, row in zip(places, rows, strict=True):
        axes.text(left[place] + clips * 0.012, place, f"{row[1] + row[2]:,}", va="center", fontsize=9, color=INK)
    axes.set_yticks(list(places), [_short(str(row[0])) for row in rows], fontsize=9.5)
    axes.invert_yaxis()
    axes.set_xlim(0, max(clips, 1) * 1.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("clips", color=SOFT, fontsize=9)
    axes.legend(loc="lower right", frameon=False, fontsize=8.5, bbox_to_anchor=(1.0, 1.0), ncols=4)
    return to_png(figure)


def _row(stage: Mapping[str, Any]) -> tuple[str, int, int, int, int]:
    return (str(stage["as"]), stage["done"], stage["person"], stage["dropped"], stage["failed"])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
