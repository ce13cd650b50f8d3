"""The picture of a film that was watched: sentiment and labels of everybody over time, under a film strip."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectgpt.files import write_whole
from affectgpt.media.isolation import map_in_order
from affectgpt.pages.plotting import INK, LINE, SOFT, new_panels
from affectgpt.watch.film_strip import StripRequest, film_strip, without_strip
from affectgpt.watch.rows import Row, by_name

COLOURS = {"positive": "#2f9e6e", "neutral": "#8a93a6", "negative": "#c2504b", None: "#c9cedb"}
"""Of a sentiment; the word stands in the legend, so that nothing depends on colours alone."""
_MOST_LANES = 8
_VALUES = {"positive": 1.0, "neutral": 0.0, "negative": -1.0}


def draw_timeline(
    rows: Sequence[Row], film: str | Path, out: str | Path, seconds: float, *, isolated: bool = False
) -> Path:
    """Draw the timeline.

    Args:
        rows: The answers.
        film: The file that was watched; its pictures become the film strip.
        out: PNG file to write.
        seconds: Length of the film.
        isolated: Whether the film's pictures are read in a process of their own, which the film may crash: the strip is
            then left out, with a warning in the log.

    Returns:
        ``out``.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    wanted = StripRequest(Path(film), seconds)
    pictures = next(map_in_order(film_strip, [wanted], int(isolated), without_strip))
    lanes = _lanes(rows)
    heights = [1.0 if pictures else 0.01, 0.42 * max(1, len(lanes)) + 0.2, 1.1]
    figure, panels = new_panels(3, 1, 12.0, sum(heights) + 1.3, grid="x", extra="report")
    figure.set_layout_engine("none")
    strip, bars, curve = panels
    for panel, box in zip(panels, _boxes(heights, sum(heights) + 1.3), strict=True):
        panel.set_position(box)
    span = max(seconds, 1e-3)
    _draw_strip(strip, pictures, span)
    _draw_lanes(bars, lanes, span)
    _draw_sentiment(curve, rows, span)
    figure.text(
        0.07, 0.965, f"{Path(film).name}: who shows what, when", color=INK, fontsize=13, weight="bold", va="top"
    )
    legend = "green: positive    grey: neutral    red: negative    paler: less sure"
    figure.text(0.98, 1 - 0.24 / (sum(heights) + 1.3), legend, color=SOFT, fontsize=9, ha="right", va="top")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, facecolor="white")
    write_whole(out, content.getvalue())
    return Path(out)


def _boxes(heights: Sequence[float], total: float) -> list[tuple[float, float, float, float]]:
    """Left, bottom, width and height of each panel, as shares of the figure, from the top."""
    top, boxes = total - 0.62, []
    for height in heights:
        boxes.append((0.11, (top - height) / total, 0.87, height / total))
        top -= height + 0.12
    return boxes


def _lanes(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The people with most to show, in order of appearance; the others share one lane."""
    people = by_name(rows)
    lengths = {name: sum(row.end_seconds - row.start_seconds for row in own) for name, own in people.items()}
    most = _MOST_LANES if len(people) <= _MOST_LANES else _MOST_LANES - 1
    chosen = set(sorted(people, key=lambda name: -lengths[name])[:most])
    lanes = [(name, own) for name, own in people.items() if name in chosen]
    others = [row for row in rows if row.name not in chosen]
    return [*lanes, (f"{len(people) - len(chosen)} others", others)] if others else lanes


def _draw_strip(axes: Any, pictures: Sequence[NDArray[np.uint8]], span: float) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, span)
    axes.set_ylim(0, 1)
    for number, picture in enumerate(pictures):
        left, right = number * span / len(pictures), (number + 1) * span / len(pictures)
        axes.imshow(picture, extent=(left, right, 0, 1), aspect="auto", interpolation="bilinear")
    axes.set_xlim(0, span)


def _draw_lanes(axes: Any, lanes: Sequence[tuple[str, Sequence[Row]]], span: float) -> None:
    axes.set_xlim(0, span)
    axes.set_ylim(max(1, len(lanes)) - 0.5, -0.5)
    axes.set_yticks(range(len(lanes)), [name for name, _ in lanes], fontsize=9, color=INK)
    axes.tick_params(length=0, labelbottom=False)
    for lane, (_, rows) in enumerate(lanes):
        bars = [(row.start_seconds, row.end_seconds - row.start_seconds) for row in rows]
        colours = [(COLOURS[row.sentiment], 0.35 + 0.65 * row.confidence) for row in rows]
        # one collection, since a film of hours has thousands of bars; edges would cover those that are narrow
        edge = min(0.8, 60 * min((width for _, width in bars), default=0) / span)
        axes.broken_barh(bars, (lane - 0.36, 0.72), facecolors=colours, edgecolors="white", linewidth=edge)
        for row, (_, width) in zip(rows, bars, strict=True):
            letters = int(width / span * 150)
            if letters >= 4:
                letters_in = "white" if row.sentiment is not None and row.confidence > 0.3 else INK
                words = row.answer if len(row.answer) <= letters else row.answer[: letters - 1] + "…"
                axes.text(
                    row.start_seconds + width / 2, lane, words, ha="center", va="center", fontsize=7.5, color=letters_in
                )


def _draw_sentiment(axes: Any, rows: Sequence[Row], span: float) -> None:
    axes.set_xlim(0, span)
    axes.set_ylim(-1.25, 1.25)
    axes.set_yticks([-1, 0, 1], ["negative", "neutral", "positive"], fontsize=9, color=SOFT)
    axes.axhline(0, color=LINE, linewidth=1)
    times, values = sentiment_curve(rows, span)
    axes.fill_between(times, values, 0, where=values >= 0, color=COLOURS["positive"], alpha=0.5, linewidth=0)
    axes.fill_between(times, values, 0, where=values <= 0, color=COLOURS["negative"], alpha=0.5, linewidth=0)
    axes.plot(times, values, color=INK, linewidth=1)
    ticks = axes.get_xticks()
    shown = [tick for tick in ticks if 0 <= tick <= span]
    axes.set_xticks(shown, [clock(tick) for tick in shown], fontsize=9, color=SOFT)
    axes.set_xlim(0, span)


def sentiment_curve(rows: Sequence[Row], span: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean sentiment over time, weighted by confidence and smoothed over a fortieth of the film."""
    times = np.linspace(0, span, 400)
    width = max(span / 40, 1e-3)
    total, weight = np.zeros_like(times), np.full_like(times, 0.15)
    for row in rows:
        if row.sentiment is None:
            continue
        middle, half = (row.start_seconds + row.end_seconds) / 2, (row.end_seconds - row.start_seconds) / 2
        distance = np.maximum(0.0, np.abs(times - middle) - half)
        near = np.exp(-0.5 * (distance / width) ** 2) * row.confidence
        total += near * _VALUES[row.sentiment]
        weight += near
    return times, total / weight


def clock(seconds: float) -> str:
    """A time as minutes and seconds, with hours where there are any.

    Examples:
        >>> clock(75.4), clock(7230)
        ('1:15', '2:00:30')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
