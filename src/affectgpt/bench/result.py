"""What scoring gives: the figures of a test set in both modes, and what belongs to them, as frozen records."""

from __future__ import annotations

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
        """Plain JSON, the figures beside the label."""
        return {"label": self.label, "samples": self.samples, **self.figures}


@dataclass(frozen=True)
class WheelFigures:
    """The figures by one wheel of the vocabulary.

    Attributes:
        samples: Samples that count.
        figures: Those of ``WHEEL_FIGURES`` that the set has.
    """

    samples: int
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one mode makes of a set; ``None`` where the set has no such figure. Figures are fractions.

    Attributes:
        f1: Wheel F1; and its precision, recall, and the mean F1 of the samples.
        coverage: Share of the predicted labels that the vocabulary has; ``target_coverage`` of the true ones.
        hit_rate: Share of samples whose true label is among the answers; and what is left of it above chance
            (``hit_skill``), and with the other labels counted (``hit_f1``).
        weighted_f1: F1 of positive and negative; and accuracy, and both with neutral as a class of its own.
        samples: Samples that count.
        labels: Labels predicted; and ``empty_predictions``, samples without one.
        dropped: Samples left out for a true score of 0; and answers that are neutral, or no sentiment.
        wheels: The figures by each wheel.
        interval: Of the set's own figure; ``None`` without resamples.
        standard_error: Of the set's own figure, by clusters of samples; ``None`` where no clusters were named.
        hit_skill_interval: Of ``hit_skill``.
        seed: Of the resamples.
        per_class: The figures of each true class.
        frequent_words: The most frequent labels with their numbers; ``unseen_words`` those that the vocabulary lacks.
        unreadable_predictions: Samples whose prediction could not be read.
        gold_missing: Samples without a gold value; and those with one out of range, or that is none of the set's.
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
        """A figure or a number by its name, for tables that list them; ``None`` where the set has none."""
        found = getattr(self, name)
        return None if found is None else float(found)

    def interval_of(self, name: str, metric: str) -> Interval | None:
        """The interval of a figure, where there is one: of the set's own, and of the hits above chance."""
        return self.interval if name == metric else self.hit_skill_interval if name == "hit_skill" else None

    def figures_json(self) -> dict[str, Any]:
        """The figures as flat JSON, without those that the set does not have."""
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
    """The score of predictions on a test set: the figures of one mode as attributes, and those of the other beside.

    Attributes:
        dataset: Name of the set; and its title.
        metric: Name of the set's own figure: ``hit_rate``, ``weighted_f1`` or ``f1``.
        score: Its value; NaN where it is not defined (0/0 in mode ``official``).
        mode: ``official`` or ``strict``.
        wheel: Name of the vocabulary; ``wheel_digest`` that of its content.
        answers: The column that the answers were read from; ``gold_column`` that of the gold labels, ``None`` for a
            set's own file.
        gold_samples: Samples of the gold; ``expected_samples`` those of the published split.
        missing_predictions: Names of the gold without a prediction.
        extractor: What read labels out of whole answers, see ``Reader.record``; ``None`` where nothing did.
        sentiment_reader: What read sentiments off labels.
        other: The figures of the other mode; ``None`` where that mode refuses the files.
        other_error: Why it does.
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
        """The mode whose figures stand in ``other``."""
        return "strict" if self.mode == "official" else "official"

    @property
    def official(self) -> Figures:
        """The figures of mode ``official``.

        Raises:
            DataError: If that mode refuses the files.
        """
        return self._of("official")

    @property
    def strict(self) -> Figures:
        """The figures of mode ``strict``.

        Raises:
            DataError: If that mode refuses the files.
        """
        return self._of("strict")

    def _of(self, mode: Mode) -> Figures:
        if mode == self.mode:
            return self
        if self.other is None:
            raise DataError(self.other_error or f"the figures of mode {mode} were not computed")
        return self.other

    def to_json(self) -> dict[str, Any]:
        """Flat JSON: every figure by its name, and those of the other mode under its name."""
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
    """The figures that the metrics returned, by name; those that end in ``_wheelN`` belong to a wheel."""
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
    """An interval without the figure itself, which stands beside it."""
    if interval is None:
        return None
    ends = {entry.name: getattr(interval, entry.name) for entry in fields(interval) if entry.name != "value"}
    return ends if seed is None else ends | {"seed": seed}
