"""The result of scoring: the figures of a test set in both modes, with their context, as frozen records."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from affectgpt.errors import DataError
from affectgpt.metrics.functional import Interval
from affectgpt.metrics.labels import Mode

WHEEL_FIGURES = ("f1", "precision", "recall", "sample_f1", "hit_rate", "hit_skill")
_OF_WHEEL = re.compile(r"(.+)_wheel(\d+)")


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one true class.

    Attributes:
        label: The class.
        samples: How many samples have it.
        figures: By name; ``None`` where a figure is not defined.
    """

    label: str
    samples: int
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The class as plain JSON, the figures beside the label."""
        return {"label": self.label, "samples": self.samples, **self.figures}


@dataclass(frozen=True)
class WheelFigures:
    """The figures of one wheel of the vocabulary.

    Attributes:
        samples: Number of samples that count.
        figures: The figures of ``WHEEL_FIGURES`` that the set has.
    """

    samples: int
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a set in one mode, as fractions; ``None`` for figures that the set does not have.

    Attributes:
        f1: Wheel F1; then its precision, its recall, and the mean F1 of the samples.
        coverage: Share of the predicted labels that are in the vocabulary; ``target_coverage`` is that of the true
            labels.
        hit_rate: Share of samples whose true label is among the predicted labels; ``hit_skill`` is the rate above
            chance, and ``hit_f1`` also counts the other labels.
        weighted_f1: Weighted F1 of positive and negative; then the accuracy, and both with neutral as a class of its
            own.
        samples: Number of samples that count.
        labels: Number of predicted labels; ``empty_predictions`` are samples without one.
        dropped: Number of samples left out for a true score of 0; then the answers that are neutral, or not a
            sentiment.
        wheels: The figures of each wheel.
        interval: Interval of the set's own figure; ``None`` without resamples.
        standard_error: Standard error of the set's own figure, by clusters of samples; ``None`` without clusters.
        hit_skill_interval: Interval of ``hit_skill``.
        seed: Seed of the resamples.
        per_class: The figures of each true class.
        frequent_words: The most frequent labels with their counts; ``unseen_words`` are those outside the vocabulary.
        unreadable_predictions: Samples whose prediction could not be read.
        gold_missing: Samples without a gold value; then those whose value is out of range, or is not a label of the
            set.
    """

    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    sample_f1: float | None = None
    coverage: float | None = None
    target_coverage: float | None = None
    hit_rate: float | None = None
    hit_skill: float | None = None
    hit_f1: float | None = None
    weighted_f1: float | None = None
    accuracy: float | None = None
    weighted_f1_3way: float | None = None
    accuracy_3way: float | None = None
    samples: int | None = None
    labels: int | None = None
    empty_predictions: int | None = None
    dropped: int | None = None
    neutral_answers: int | None = None
    unknown_answers: int | None = None
    wheels: tuple[WheelFigures, ...] = ()
    interval: Interval | None = None
    standard_error: float | None = None
    hit_skill_interval: Interval | None = None
    seed: int = 0
    per_class: tuple[ClassFigures, ...] = ()
    frequent_words: tuple[tuple[str, int], ...] = ()
    unseen_words: tuple[tuple[str, int], ...] = ()
    unreadable_predictions: tuple[str, ...] = ()
    gold_missing: tuple[str, ...] = ()
    gold_out_of_range: tuple[str, ...] = ()
    gold_unknown: tuple[str, ...] = ()

    def figure(self, name: str) -> float | None:
        """A figure or a count by name, for tables that list them; ``None`` if the set has none."""
        found = getattr(self, name)
        return None if found is None else float(found)

    def interval_of(self, name: str, metric: str) -> Interval | None:
        """The interval of the set's own figure or of the hits above chance; ``None`` for other figures."""
        return self.interval if name == metric else self.hit_skill_interval if name == "hit_skill" else None

    def figures_json(self) -> dict[str, Any]:
        """The figures as flat JSON, without those that the set lacks."""
        found: dict[str, Any] = {}
        for entry in fields(Figures):
            value = getattr(self, entry.name)
            if value is not None and entry.type in ("float | None", "int | None"):
                found[entry.name] = value
        for number, wheel in enumerate(self.wheels, start=1):
            found[f"samples_wheel{number}"] = wheel.samples
        for name in WHEEL_FIGURES:
            for number, wheel in enumerate(self.wheels, start=1):
                if name in wheel.figures:
                    found[f"{name}_wheel{number}"] = wheel.figures[name]
        found["interval"] = interval_json(self.interval, self.seed)
        if self.hit_rate is not None:
            found["hit_skill_interval"] = interval_json(self.hit_skill_interval, self.seed)
        return found | {
            "per_class": [one.to_json() for one in self.per_class],
            "frequent_words": [list(pair) for pair in self.frequent_words],
            "unseen_words": [list(pair) for pair in self.unseen_words],
            **{
                name: list(getattr(self, name))
                for name in ("unreadable_predictions", "gold_missing", "gold_out_of_range", "gold_unknown")
            },
        }


@dataclass(frozen=True, kw_only=True)
class SetResult(Figures):
    """The score of predictions on a test set; the figures of the main mode are its attributes.

    Attributes:
        dataset: Name of the set; ``title`` as papers print it.
        metric: Name of the set's own figure: ``hit_rate``, ``weighted_f1`` or ``f1``.
        score: Value of that figure; NaN if it is undefined (0/0 in mode ``official``).
        mode: ``official`` or ``strict``.
        wheel: Name of the vocabulary; ``wheel_digest`` is the hash of its content.
        answers: The column of the answers; ``gold_column`` is that of the gold labels, ``None`` for a set's own file.
        gold_samples: Number of gold samples; ``expected_samples`` is that of the published split.
        missing_predictions: Names of the gold samples without a prediction.
        extractor: Record of the extractor that read labels from whole answers, see ``Reader.record``; ``None`` if there
            was none.
        sentiment_reader: Record of the reader that derived sentiments from labels.
        other: The figures of the other mode; ``None`` if that mode rejects the files.
        other_error: Why that mode rejects the files.
    """

    dataset: str
    metric: str
    score: float
    mode: Mode
    wheel: str
    wheel_digest: str = ""
    title: str = ""
    answers: str = ""
    gold_column: str | None = None
    gold_samples: int | None = None
    expected_samples: int | None = None
    missing_predictions: tuple[str, ...] = ()
    extractor: Mapping[str, Any] | None = None
    sentiment_reader: Mapping[str, Any] | None = None
    other: Figures | None = None
    other_error: str | None = None

    @property
    def other_mode(self) -> Mode:
        """The mode of the figures in ``other``."""
        return "strict" if self.mode == "official" else "official"

    @property
    def official(self) -> Figures:
        """The figures of mode ``official``.

        Raises:
            DataError: If that mode rejects the files.
        """
        return self._of("official")

    @property
    def strict(self) -> Figures:
        """The figures of mode ``strict``.

        Raises:
            DataError: If that mode rejects the files.
        """
        return self._of("strict")

    @property
    def undefined(self) -> str | None:
        """Why there is no score; ``None`` if there is one."""
        if not math.isnan(self.score):
            return None
        why = "no answer has a label" if self.labels == 0 else "no label of an answer is right"
        other = None if self.other is None else self.other.figure(self.metric)
        strict = "" if other is None or math.isnan(other) else f"; in mode {self.other_mode} it is {100 * other:.2f}"
        return f"there is no {self.metric}: {why}, and 0/0 stays undefined as published{strict}"

    def _of(self, mode: Mode) -> Figures:
        if mode == self.mode:
            return self
        if self.other is None:
            raise DataError(self.other_error or f"the figures of mode {mode} were not computed")
        return self.other

    def to_json(self) -> dict[str, Any]:
        """The result as flat JSON; the figures of the other mode are under the name of that mode."""
        if self.other is not None:
            other: dict[str, Any] = {self.other_mode: self.other.figures_json()}
        else:
            other = {} if self.other_error is None else {self.other_mode: {"error": self.other_error}}
        return {
            "dataset": self.dataset,
            "title": self.title,
            "metric": self.metric,
            "score": self.score,
            "mode": self.mode,
            "wheel": self.wheel,
            "wheel_digest": self.wheel_digest,
            "answers": self.answers,
            "gold_column": self.gold_column,
            "gold_samples": self.gold_samples,
            "expected_samples": self.expected_samples,
            "missing_predictions": list(self.missing_predictions),
            **self.figures_json(),
            "extractor": self.extractor,
            "sentiment_reader": self.sentiment_reader,
            **other,
        }


def figures_from(values: Mapping[str, float | int], **more: Any) -> Figures:
    """Build ``Figures`` from the named values of the metrics; names that end in ``_wheelN`` belong to a wheel."""
    whole: dict[str, Any] = {}
    by_wheel: dict[int, dict[str, float | int]] = {}
    for name, value in values.items():
        of_wheel = _OF_WHEEL.fullmatch(name)
        if of_wheel is None:
            whole[name] = value
        else:
            by_wheel.setdefault(int(of_wheel.group(2)), {})[of_wheel.group(1)] = value
    wheels = tuple(WheelFigures(int(one.pop("samples")), one) for _, one in sorted(by_wheel.items()))
    return Figures(**whole, wheels=wheels, **more)


def interval_json(interval: Interval | None, seed: int | None = None) -> dict[str, Any] | None:
    """An interval as plain JSON, without the figure itself, which is beside it."""
    if interval is None:
        return None
    ends = {entry.name: getattr(interval, entry.name) for entry in fields(interval) if entry.name != "value"}
    return ends if seed is None else ends | {"seed": seed}
