"""The result of a system on a test set with where it comes from: files, choice of checkpoint, comparison."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affectgpt.bench.result import SetResult, interval_json
from affectgpt.metrics.functional import Interval
from affectgpt.metrics.labels import Mode


@dataclass(frozen=True)
class HonestChoice:
    """What a rule that does not look at test labels would have chosen.

    Attributes:
        rule: The rule.
        chosen: The checkpoint.
        score: Its score on the test set.
        interval: The interval of that score.
    """

    rule: str
    chosen: str
    score: float
    interval: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        found: dict[str, Any] = {"rule": self.rule, "chosen": self.chosen, "score": self.score}
        return found if self.interval is None else found | {"interval": interval_json(self.interval)}


@dataclass(frozen=True)
class Selection:
    """Which of several checkpoints counts for a set, and why.

    Attributes:
        rule: One of ``affectgpt.bench.selection.RULES``.
        chosen: The checkpoint.
        candidates: Checkpoint to score, in natural order.
        honest: For the rule ``official``, which looks at test labels, what an honest rule would have chosen.
    """

    rule: str
    chosen: str
    candidates: Mapping[str, float]
    honest: HonestChoice | None = None

    @property
    def optimistic(self) -> bool:
        """Whether test labels had a part in the choice."""
        return self.rule == "official"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        honest = {} if self.honest is None else {"honest": self.honest.to_json()}
        head = {"rule": self.rule, "chosen": self.chosen, "candidates": dict(self.candidates)}
        return {**head, "optimistic": self.optimistic, **honest}


@dataclass(frozen=True)
class ComparedSystem:
    """One side of a comparison.

    Attributes:
        predictions: Its file.
        answers: The column that its answers were read from.
        score: The set's own figure, with its interval.
        missing_predictions: Names of the gold without a prediction.
    """

    predictions: str
    answers: str
    score: Interval
    missing_predictions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        head = {"predictions": self.predictions, "answers": self.answers, "score": self.score.value}
        return head | {"interval": interval_json(self.score), "missing_predictions": list(self.missing_predictions)}


@dataclass(frozen=True)
class SkillDifference:
    """The difference of the hit rates above chance.

    Attributes:
        a: One system's.
        b: The other's.
        difference: a minus b, with its interval.
        a_better: Share of the resamples in which a is higher.
    """

    a: float
    b: float
    difference: Interval
    a_better: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        ends = {"difference": self.difference.value, "interval": interval_json(self.difference)}
        return {"a": self.a, "b": self.b, **ends, "a_better": self.a_better}


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same samples and resamples; figures are fractions.

    An interval of the difference that holds 0 means that these samples do not tell the systems apart.

    Attributes:
        dataset: Name of the set; and its title.
        metric: Name of the set's own figure.
        mode: ``official`` or ``strict``.
        wheel: Name of the vocabulary.
        samples: Samples of the gold.
        seed: Of the resamples.
        a: One system.
        b: The other.
        difference: a minus b, with its interval.
        a_better: Share of the resamples in which a is higher.
        hit_skill: The same for the hit rate above chance, of sets with one true label.
    """

    dataset: str
    title: str
    metric: str
    mode: Mode
    wheel: str
    samples: int
    seed: int
    a: ComparedSystem
    b: ComparedSystem
    difference: Interval
    a_better: float
    hit_skill: SkillDifference | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("dataset", "title", "metric", "mode", "wheel", "samples", "seed")
        ends = {"difference": self.difference.value, "interval": interval_json(self.difference)}
        skill = {} if self.hit_skill is None else {"hit_skill": self.hit_skill.to_json()}
        head = {name: getattr(self, name) for name in names}
        return head | {"a": self.a.to_json(), "b": self.b.to_json(), **ends, "a_better": self.a_better, **skill}


@dataclass(frozen=True)
class Repeats:
    """The set's own figure over several runs of one answerer, each of which drew its answers anew.

    Attributes:
        scores: One a run, in order.
        low: Mean of the lower ends of the runs' intervals: how much the choice of clips matters; ``None`` without
            resamples.
        high: The same of the upper ends.
    """

    scores: tuple[float, ...]
    low: float | None = None
    high: float | None = None

    @property
    def mean(self) -> float:
        """The mean."""
        return sum(self.scores) / len(self.scores)

    @property
    def spread(self) -> float:
        """The standard deviation of a run (n - 1): how much the drawing of answers matters."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        ends = {} if self.low is None else {"low": self.low, "high": self.high}
        return {"scores": list(self.scores), "mean": self.mean, "spread": self.spread, **ends}


@dataclass(frozen=True)
class SystemResult:
    """The result of one system on one test set, with where it comes from.

    Attributes:
        result: The figures.
        system: Name of the system.
        checkpoint: Name of the checkpoint.
        predictions: The file that was scored.
        data: Where the gold labels come from, and how they differ from the published split, as plain JSON.
        passed_over: Files that were taken for gold labels, not for predictions, with the reasons.
        answered_by: What decided the answers, where the benchmark asked the model itself.
        failed_answers: Samples that could not be answered, with the reasons; ``None`` where nobody asked.
        refused_answers: Samples that the model declined to answer, with the reasons.
        answering: How clips were shown and answers drawn, where the benchmark asked.
        taken: What the answers took, such as tokens and cost.
        repeats: The figure over several runs; the other figures are then those of the first run.
        selection: Which of several checkpoints this is.
        comparison: The difference to another system.
        views: View, such as ``AT``, to the comparison of the system that is shown these modalities alone (a) with
            itself (b).
    """

    result: SetResult
    system: str = "this system"
    checkpoint: str | None = None
    predictions: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)
    answered_by: Mapping[str, Any] | None = None
    failed_answers: Mapping[str, str] | None = None
    refused_answers: Mapping[str, str] | None = None
    answering: Mapping[str, Any] | None = None
    taken: Mapping[str, Any] | None = None
    repeats: Repeats | None = None
    selection: Selection | None = None
    comparison: Comparison | None = None
    views: Mapping[str, Comparison] | None = None

    def to_json(self) -> dict[str, Any]:
        """Flat JSON: what ``SetResult.to_json`` gives, and the rest beside it, as far as it is there."""
        found = self.result.to_json() | {"system": self.system}
        for name in ("checkpoint", "predictions", "answered_by", "failed_answers", "refused_answers", "answering"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        for name in ("data", "passed_over", "taken"):
            if getattr(self, name):
                found[name] = dict(getattr(self, name))
        if self.repeats is not None:
            found["repeats"] = self.repeats.to_json()
        if self.selection is not None:
            found["selection"] = self.selection.to_json()
        if self.comparison is not None:
            found["comparison"] = self.comparison.to_json()
        if self.views is not None:
            found["views"] = {view: one.to_json() for view, one in self.views.items()}
        return found
