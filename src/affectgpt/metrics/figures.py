"""Single figures of the scores as torchmetrics classes, for loggers, trackers and wrappers that need one tensor.

They relate to the full scores as ``F1Score`` and ``Precision`` relate to ``StatScores`` in torchmetrics. Samples may be
words, or the integers into which ``encode`` turns them: ``BootStrapper`` can only draw samples from tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.base import OverlapMetric, SentimentMetric
from affectgpt.metrics.functional.counts import LABELS, Means, mean_over_wheels, mean_scores, sum_overlap
from affectgpt.metrics.functional.hit_rate import hit_groups
from affectgpt.metrics.functional.overlap import Overlap, count_overlap, overlap_of
from affectgpt.metrics.functional.sentiment import sentiment_cells, sentiment_counts_of, weighted_f1_of
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, as_samples

Average = Literal["macro"] | None


class OverlapFigure(OverlapMetric):
    """One figure of groups, averaged over the wheels.

    Args:
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` or ``strict``.
        average: ``macro`` gives the mean over the wheels in which a sample counts, as a scalar tensor; ``None`` gives
            each wheel's figure, float64 ``[W]``, for ``ClasswiseWrapper``.
        zero_division: The F1 of a wheel whose precision and recall are both 0. The published NaN would end a run with
            early stopping, so the default is 0; only a wheel in which no sample counts is NaN, and the mean if there is
            no other wheel.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the wheel, the level, the mode or the average does not exist.
    """

    def __init__(
        self,
        wheel: EmotionWheel,
        level: int = 1,
        mode: str = "official",
        average: Average = "macro",
        zero_division: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(wheel, level, mode, zero_division, **kwargs)
        if average not in ("macro", None):
            raise ConfigError(
                f"average is {average!r}; choose 'macro' (the mean over the wheels) or None (one figure per wheel)"
            )
        self.average = average
        # the name that ClasswiseWrapper and MetricTracker use for the length of a result
        self.num_classes = wheel.num_wheels

    def encode(self, preds: Sequence[Any], target: Sequence[Any]) -> Tensor:
        """Encode each sample for ``update``: its shared, predicted and true groups per wheel, int64 ``[N, 3 * W]``.

        Args:
            preds: Per sample the predicted labels; a text goes through ``parse_labels``.
            target: Per sample the true labels, or the one true label.

        Raises:
            DataError: If the numbers of samples differ, or a label is not a text.
        """
        overlap = self._overlap(preds, target)
        sides = (overlap.shared, overlap.num_pred, overlap.num_target)
        return torch.cat([torch.from_numpy(side) for side in sides], dim=1).to(self.device)

    def update(self, preds: Sequence[Any] | Tensor, target: Sequence[Any] | None = None) -> None:
        """Add a batch.

        Args:
            preds: Per sample the predicted labels; or, without ``target``, the result of ``encode``.
            target: Per sample the true labels, or the one true label.

        Raises:
            DataError: If the numbers of samples differ, or a label is not a text.
        """
        if target is None:
            self._add(sum_overlap(_overlap_of_rows(preds, self.num_classes)))
        else:
            self._add(sum_overlap(self._overlap(preds, target)))

    def compute(self) -> Tensor:
        """The figure over all samples so far, float64."""
        values = self._of(mean_scores(self.counts, self.mode, self.zero_division))
        return values if self.average is None else mean_over_wheels(values, self.zero_division)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot one result, or several in order; see ``torchmetrics.Metric.plot``."""
        return self._plot(val, ax)

    def _overlap(self, preds: Any, target: Sequence[Any]) -> Overlap:
        return count_overlap(as_samples(preds), as_samples(target), self.wheel, self.level, self.mode)

    def _of(self, means: Means) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define which figure it is")


class WheelF1(OverlapFigure):
    """F1 of the groups of open-vocabulary labels; see ``EmotionWheelScore`` and ``OverlapFigure``.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel, WheelF1
        >>> f1 = WheelF1(EmotionWheel.builtin())
        >>> f1.update([["glad"], ["furious", "sad"]], [["joyful"], ["angry"]])
        >>> round(float(f1.compute()), 2)
        0.86
    """

    def _of(self, means: Means) -> Tensor:
        return means.f1


class WheelPrecision(OverlapFigure):
    """Precision of the groups of open-vocabulary labels; see ``EmotionWheelScore`` and ``OverlapFigure``."""

    def _of(self, means: Means) -> Tensor:
        return means.precision


class WheelRecall(OverlapFigure):
    """Recall of the groups of open-vocabulary labels; see ``EmotionWheelScore`` and ``OverlapFigure``."""

    def _of(self, means: Means) -> Tensor:
        return means.recall


class HitRate(OverlapFigure):
    """How often an answer names the group of the one true label; see ``EmotionHitRate`` and ``OverlapFigure``."""

    def _overlap(self, preds: Any, target: Sequence[Any]) -> Overlap:
        return overlap_of(hit_groups(preds, target, self.wheel, self.level, self.mode))

    def _of(self, means: Means) -> Tensor:
        return means.num_hits if self.mode == "official" else means.any_hit


class SentimentFigure(SentimentMetric):
    """One figure of positive against negative; NaN if every true score is 0.

    Args:
        mode: ``official`` or ``strict``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the mode is unknown.
    """

    position: ClassVar[int]

    def encode(self, preds: Sequence[str], target: Tensor | Sequence[float]) -> Tensor:
        """Encode each sample for ``update``: its cell in the table of true sign and answer, int64 ``[N]``.

        Raises:
            DataError: If the lengths differ, a prediction is not a text or a target is not a number.
        """
        return sentiment_cells(preds, target, self.mode).to(self.device)

    def update(self, preds: Any, target: Tensor | Sequence[float] | None = None) -> None:
        """Add a batch.

        Args:
            preds: "positive", "negative" or "neutral" per sample; or, without ``target``, the result of ``encode``.
            target: True scores, float ``[N]``.

        Raises:
            DataError: If the lengths differ, a prediction is not a text or a target is not a number.
        """
        if target is None and not isinstance(preds, Tensor):
            raise DataError("there are no targets; pass predictions and true scores, or the result of encode")
        cells = preds if target is None else sentiment_cells(preds, target, self.mode)
        self._add(sentiment_counts_of(torch.as_tensor(cells)))

    def compute(self) -> Tensor:
        """The figure over all samples so far, float64."""
        signed = self.counts[[0, 2]]
        value = weighted_f1_of(self.counts.double(), self.mode)[self.position]
        return torch.where(signed.sum() > 0, value, torch.nan)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot one result, or several in order; see ``torchmetrics.Metric.plot``."""
        return self._plot(val, ax)


class SentimentF1(SentimentFigure):
    """F1 of both signs, weighted by their true share; see ``SentimentScore``.

    Examples:
        >>> from affectgpt.metrics import SentimentF1
        >>> f1 = SentimentF1()
        >>> f1.update(["positive", "negative", "neutral"], [1.5, -0.2, 2.0])
        >>> round(float(f1.compute()), 3)
        0.667
    """

    position = 0


class SentimentAccuracy(SentimentFigure):
    """Share of samples whose sign is right; see ``SentimentScore``."""

    position = 1


def _overlap_of_rows(rows: Any, num_wheels: int) -> Overlap:
    if not isinstance(rows, Tensor) or rows.ndim != 2 or rows.shape[1] != 3 * num_wheels or rows.is_floating_point():
        found = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
        raise DataError(
            f"one argument is {found}; pass predictions and targets, or the result of encode: int64 [N, "
            f"{3 * num_wheels}]"
        )
    shared, num_pred, num_target = rows.cpu().numpy().reshape(len(rows), 3, num_wheels).transpose(1, 0, 2)
    return Overlap(shared, num_pred, num_target, torch.zeros(len(LABELS) - 2, dtype=torch.int64).numpy(), 0)
