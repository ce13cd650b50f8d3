"""The result of a system on a test set with its origin: files, choice of checkpoint, comparison."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affectgpt.bench.result import SetResult, interval_json
from affectgpt.metrics.functional import Faithfulness, Interval
from affectgpt.metrics.labels import Mode


@dataclass(frozen=True)
class HonestChoice:
    """The choice of a rule that does not use test labels.

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
        """The record as plain JSON."""
        found: dict[str, Any] = {"rule": self.rule, "chosen": self.chosen, "score": self.score}
        return found if self.interval is None else found | {"interval": interval_json(self.interval)}


@dataclass(frozen=True)
class Selection:
    """The checkpoint that counts for a set, and why it was chosen.

    Attributes:
        rule: One of ``affectgpt.bench.selection.RULES``.
        chosen: The checkpoint.
        candidates: Checkpoint to score, in natural order.
        honest: The choice of an honest rule, if the rule is ``official``, which uses test labels.
    """

    rule: str
    chosen: str
    candidates: Mapping[str, float]
    honest: HonestChoice | None = None

    @property
    def optimistic(self) -> bool:
        """Whether the choice used test labels."""
        return self.rule == "official"

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        honest = {} if self.honest is None else {"honest": self.honest.to_json()}
        head = {"rule": self.rule, "chosen": self.chosen, "candidates": dict(self.candidates)}
        return {**head, "optimistic": self.optimistic, **honest}


@dataclass(frozen=True)
class ComparedSystem:
    """One side of a comparison.

    Attributes:
        predictions: Path of its file.
        answers: The column of its answers.
        score: The set's own figure, with its interval.
        missing_predictions: Names of the gold samples without a prediction.
    """

    predictions: str
    answers: str
    score: Interval
    missing_predictions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        head = {"predictions": self.predictions, "answers": self.answers, "score": self.score.value}
        return head | {"interval": interval_json(self.score), "missing_predictions": list(self.missing_predictions)}


@dataclass(frozen=True)
class SkillDifference:
    """The difference of the hit rates above chance.

    Attributes:
        a: The rate of the first system.
        b: The rate of the second system.
        difference: ``a - b``, with its interval.
        a_better: Share of the resamples in which ``a`` is higher.
    """

    a: float
    b: float
    difference: Interval
    a_better: float

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        ends = {"difference": self.difference.value, "interval": interval_json(self.difference)}
        return {"a": self.a, "b": self.b, **ends, "a_better": self.a_better}


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same samples and resamples; figures are fractions.

    If the interval of the difference contains 0, these samples do not tell the systems apart.

    Attributes:
        dataset: Name of the set; ``title`` as papers print it.
        metric: Name of the set's own figure.
        mode: ``official`` or ``strict``.
        wheel: Name of the vocabulary.
        samples: Number of gold samples.
        seed: Seed of the resamples.
        a: The first system.
        b: The second system.
        difference: ``a - b``, with its interval.
        a_better: Share of the resamples in which ``a`` is higher.
        hit_skill: The difference of the hit rates above chance, for sets with one true label.
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
        """The record as plain JSON."""
        names = ("dataset", "title", "metric", "mode", "wheel", "samples", "seed")
        ends = {"difference": self.difference.value, "interval": interval_json(self.difference)}
        skill = {} if self.hit_skill is None else {"hit_skill": self.hit_skill.to_json()}
        head = {name: getattr(self, name) for name in names}
        return head | {"a": self.a.to_json(), "b": self.b.to_json(), **ends, "a_better": self.a_better, **skill}


@dataclass(frozen=True)
class Repeats:
    """The set's own figure over several runs of one answerer, each of which sampled new answers.

    Attributes:
        scores: The figure of each run, in order.
        low: Mean of the lower ends of the runs' intervals, which show the effect of the choice of clips; ``None``
            without resamples.
        high: Mean of the upper ends.
    """

    scores: tuple[float, ...]
    low: float | None = None
    high: float | None = None

    @property
    def mean(self) -> float:
        """The mean of the runs."""
        return sum(self.scores) / len(self.scores)

    @property
    def spread(self) -> float:
        """The standard deviation over the runs (n - 1), which shows the effect of sampling answers."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        ends = {} if self.low is None else {"low": self.low, "high": self.high}
        return {"scores": list(self.scores), "mean": self.mean, "spread": self.spread, **ends}


@dataclass(frozen=True)
class DegradedResult:
    """A system on degraded clips.

    Attributes:
        kind: What was done to the clips, from ``affectgpt.bench.degradations.KINDS``.
        strength: In the unit of the kind.
        comparison: The degraded clips (``a``) compared with the same clips as they are (``b``).
    """

    kind: str
    strength: float
    comparison: Comparison

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        return {"kind": self.kind, "strength": self.strength, "comparison": self.comparison.to_json()}


@dataclass(frozen=True)
class Evidence:
    """What became of labels when the view that alone brought them was gone.

    Attributes:
        counts: The counts over all clips of a set.
        interval: The share of the labels that stay, with its interval; ``None`` if nothing was drawn or tested.
    """

    counts: Faithfulness
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON."""
        return {**self.counts.to_json(), "interval": interval_json(self.interval)}


@dataclass(frozen=True)
class SystemResult:
    """The result of one system on one test set, with its origin.

    Attributes:
        result: The figures.
        system: Name of the system.
        checkpoint: Name of the checkpoint.
        predictions: The file that was scored.
        data: The origin of the gold labels, and their differences from the published split, as plain JSON.
        passed_over: Files that were skipped because they hold gold labels, with the reasons.
        answered_by: The settings that decided the answers, if the benchmark asked the model itself.
        failed_answers: Samples that could not be answered, with the reasons; ``None`` if the benchmark did not ask.
        refused_answers: Samples that the model declined to answer, with the reasons.
        answering: How clips were shown and answers drawn, if the benchmark asked.
        taken: What the answers cost, such as tokens and time.
        repeats: The figure over several runs; the other figures are then those of the first run.
        selection: How this checkpoint was chosen from several.
        comparison: The difference to another system.
        views: View, such as ``AT``, to the comparison of the system with these modalities alone (``a``) and with all
            (``b``).
        evidence: Labels that stay though their only evidence is gone, if enough views were asked.
        degraded: The same system on degraded clips.
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
    evidence: Evidence | None = None
    degraded: tuple[DegradedResult, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as flat JSON: ``SetResult.to_json`` and those of the other attributes that are set."""
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
        if self.evidence is not None:
            found["evidence"] = self.evidence.to_json()
        if self.degraded is not None:
            found["degraded"] = [one.to_json() for one in self.degraded]
        return found
