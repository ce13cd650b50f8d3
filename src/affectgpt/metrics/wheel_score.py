"""The emotion-wheel score as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from affectgpt.metrics.base import OverlapMetric
from affectgpt.metrics.functional.counts import sum_overlap
from affectgpt.metrics.functional.overlap import count_overlap
from affectgpt.metrics.functional.wheel_score import wheel_score_of
from affectgpt.metrics.wheel.emotion_wheel import as_samples


class EmotionWheelScore(OverlapMetric):
    """Precision, recall and F1 of the groups of open-vocabulary labels, averaged over the wheels.

    ``functional.emotion_wheel_score`` explains the figures, the modes and the result of ``compute``.

    Args:
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` or ``strict``.
        zero_division: The F1 if precision and recall are both 0: NaN by default in mode ``official``, as published.
            Give 0 if a run monitors the score, as ``WheelF1`` does.
        kwargs: For ``torchmetrics.Metric``.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel, EmotionWheelScore
        >>> score = EmotionWheelScore(EmotionWheel.builtin())
        >>> score.update([["glad"], ["furious", "sad"]], [["joyful"], ["angry"]])
        >>> {name: round(float(score.compute()[name]), 2) for name in ("f1", "precision", "recall")}
        {'f1': 0.86, 'precision': 0.75, 'recall': 1.0}
    """

    plotted = ("f1", "precision", "recall")

    def update(self, preds: Sequence[Any], target: Sequence[Any]) -> None:
        """Add a batch.

        Args:
            preds: Per sample the predicted labels; a text goes through ``parse_labels``.
            target: Per sample the true labels.

        Raises:
            DataError: If the numbers of samples differ, or a label is not a text.
        """
        self._add(sum_overlap(count_overlap(as_samples(preds), as_samples(target), self.wheel, self.level, self.mode)))

    def compute(self) -> dict[str, Tensor]:
        """The scores over all samples so far; see ``functional.emotion_wheel_score``."""
        return wheel_score_of(self.counts, self.mode, self.zero_division)
