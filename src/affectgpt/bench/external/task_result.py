"""The result of a task of another benchmark: its figures in both modes, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affectgpt.bench.external.tasks import OtherTask
from affectgpt.metrics.labels import Mode


@dataclass(frozen=True)
class TaskFigures:
    """The figures of a task in one mode; fractions, or correlations from -1 to 1.

    Attributes:
        values: Name to figure, the task's own metric among them; NaN without samples.
        samples: Number of samples that count.
        unreadable: Names of the samples whose answer could not be read.
        groups: Title, such as ``by_kind``, to the metric in each group of samples.
        gold_samples: Number of gold samples, if it is not the number of rows.
    """

    values: Mapping[str, float]
    samples: int
    unreadable: tuple[str, ...]
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gold_samples: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures as flat JSON."""
        groups = {title: dict(shares) for title, shares in self.groups.items()}
        return {**self.values, **groups, "samples": self.samples, "unreadable": list(self.unreadable)}


@dataclass(frozen=True)
class TaskResult:
    """The result of a system on a task of another benchmark.

    Attributes:
        task: The task, with its published size, its formula and the publicly listed figure of AffectGPT.
        mode: The mode of ``figures``; ``other`` has those of ``other_mode``.
        answers: The column or the system that was read; empty for answers with columns of their own.
        figures: The figures in ``mode``.
        other_mode: The other mode.
        other: The figures in ``other_mode``.
        gold_samples: Number of gold samples.
        missing: Names of the gold samples without an answer.
        predictions: The files that were scored.
    """

    task: OtherTask
    mode: Mode
    answers: str | None
    figures: TaskFigures
    other_mode: Mode
    other: TaskFigures
    gold_samples: int
    missing: tuple[str, ...]
    predictions: tuple[str, ...]

    @property
    def score(self) -> float:
        """The task's own metric in ``mode``."""
        return self.figures.values[self.task.metric]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the figures of ``mode`` at the top and the others under the other mode's name."""
        task = self.task
        return {
            "benchmark": task.name,
            "title": task.title,
            "metric": task.metric,
            "score": self.score,
            "mode": self.mode,
            "answers": self.answers,
            "gold_samples": self.gold_samples,
            "expected_samples": task.num_samples,
            **self.figures.to_json(),
            "missing": list(self.missing),
            "formula": task.formula,
            "listed": None if task.listed is None else {"score": task.listed[0], "source": task.listed[1]},
            "predictions": list(self.predictions),
            self.other_mode: self.other.to_json(),
        }
