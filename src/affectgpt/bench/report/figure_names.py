"""The titles of the figures of a result, and the figures that a report shows, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from affectgpt.bench.result import Figures, SetResult
from affectgpt.bench.system_result import SystemResult
from affectgpt.pages.escaping import one_line

TITLES: Mapping[str, str] = {
    "hit_rate": "hit rate",
    "hit_skill": "hit rate above chance",
    "hit_f1": "hit F1",
    "f1": "wheel F1",
    "precision": "precision",
    "recall": "recall",
    "sample_f1": "mean F1 of the samples",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "weighted_f1_3way": "weighted F1, neutral kept",
    "accuracy_3way": "accuracy, neutral kept",
    "coverage": "labels in the vocabulary",
    "target_coverage": "true labels in the vocabulary",
}
SHOWN: Mapping[str, tuple[str, ...]] = {
    "discrete": ("hit_rate", "hit_skill", "precision", "hit_f1", "f1", "coverage", "target_coverage"),
    "sentiment": ("weighted_f1", "accuracy", "weighted_f1_3way", "accuracy_3way"),
    "open": ("f1", "precision", "recall", "sample_f1", "coverage", "target_coverage"),
}
"""Task to the figures of its sets, the set's own first."""

COUNTS: Mapping[str, str] = {
    "gold_samples": "samples",
    "expected_samples": "samples of the published split",
    "missing_predictions": "without a prediction",
    "unreadable_predictions": "unreadable predictions",
    "failed_answers": "without an answer",
    "refused_answers": "refused",
    "empty_predictions": "without a label",
    "labels": "labels predicted",
    "dropped": "left out, true score 0",
    "neutral_answers": "neutral answers",
    "unknown_answers": "answers that are not a sentiment",
}
ABSENT = "-"
"""The mark for a missing figure."""

WHEEL_SCORE: Mapping[str, str] = {"discrete": "hit_rate", "open": "f1"}
"""Task to the figure that each wheel has."""


def counts_of(one: SystemResult) -> list[tuple[str, int]]:
    """The title and value of every count; lists of names are counted."""
    found = []
    for key, title in COUNTS.items():
        value = getattr(one if key in ("failed_answers", "refused_answers") else one.result, key)
        if value is not None:
            found.append((title, value if isinstance(value, int) else len(value)))
    return found


def wheels_of(result: SetResult, task: str) -> list[tuple[int, float | None, int, int]]:
    """For each wheel its number, its score, the samples that count, and those that it skips."""
    if task not in WHEEL_SCORE:
        return []
    return [
        (number, one.figures.get(WHEEL_SCORE[task]), one.samples, (result.samples or one.samples) - one.samples)
        for number, one in enumerate(result.wheels, start=1)
    ]


@dataclass(frozen=True)
class Figure:
    """One figure of a result.

    Attributes:
        title: Title of the figure.
        official: Value in mode official.
        official_ends: Interval in mode official, in words; empty if there is none.
        strict: Value in mode strict.
        strict_ends: Interval in mode strict.
    """

    title: str
    official: float | None
    official_ends: str
    strict: float | None
    strict_ends: str


def figures_of(result: SetResult, task: str) -> list[Figure]:
    """The figures of a result that the report shows, in both modes."""
    modes = (result, result.other) if result.mode == "official" else (result.other, result)
    found = []
    for name in SHOWN[task]:
        cells = [(_value(mode, name), _ends(mode, name, result.metric)) for mode in modes]
        if any(value is not None for value, _ in cells):
            found.append(Figure(TITLES[name], *cells[0], *cells[1]))
    return found


def _value(mode: Figures | None, name: str) -> float | None:
    return None if mode is None else mode.figure(name)


def _ends(mode: Figures | None, name: str, metric: str) -> str:
    interval = None if mode is None else mode.interval_of(name, metric)
    return "" if interval is None else between(interval.low, interval.high)


def percent(value: float | None) -> str:
    """A fraction in percent with two decimals, as papers print it."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def between(low: float | None, high: float | None) -> str:
    """The ends of an interval, in percent; empty without an interval."""
    return "" if low is None or high is None or low != low or high != high else f"{100 * low:.1f} to {100 * high:.1f}"


def shown(text: object, most: int = 32) -> str:
    """A label for display: on one line, printable, not too long."""
    plain = one_line(text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
