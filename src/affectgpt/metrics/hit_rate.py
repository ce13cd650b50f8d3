"""The hit rate as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.metrics.base import OverlapMetric
from affectgpt.metrics.functional.chance import totals_width
from affectgpt.metrics.functional.hit_rate import hit_counts, hit_rate_of
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel


class EmotionHitRate(OverlapMetric):
    """How often an open-vocabulary answer names the group of the one true label.

    ``functional.emotion_hit_rate`` explains the figures, the modes and the result of ``compute``.

    Args:
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` or ``strict``.
        zero_division: Give 0 if a run monitors the score: wheels in which no sample counts are then left out of the
            means.
        kwargs: For ``torchmetrics.Metric``.

    Examples:
        >>> from affectgpt.metrics import EmotionHitRate, EmotionWheel
        >>> hits = EmotionHitRate(EmotionWheel.builtin())
        >>> hits.update([["glad", "tearful"], ["calm"]], ["joy", "anger"])
        >>> float(hits.compute()["hit_rate"])
        0.5
    """

    plotted = ("hit_rate", "precision", "hit_f1")

    def __init__(
        self,
        wheel: EmotionWheel,
        level: int = 1,
        mode: str = "official",
        zero_division: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(wheel, level, mode, zero_division, **kwargs)
        self._totals = f"groups_{self._setting}"
        shape = (2, wheel.num_wheels, totals_width(wheel, level, self.mode))
        self.add_state(self._totals, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[Any], target: Sequence[str]) -> None:
        """Add a batch.

        Args:
            preds: Per sample the predicted labels; a text goes through ``parse_labels``.
            target: One true label per sample.

        Raises:
            DataError: If the numbers of samples differ, or a target is not one text.
        """
        counts, totals = hit_counts(preds, target, self.wheel, self.level, self.mode)
        self._add(counts)
        summed: Tensor = getattr(self, self._totals)
        setattr(self, self._totals, summed + totals.to(summed.device))

    def compute(self) -> dict[str, Tensor]:
        """The scores over all samples so far; see ``functional.emotion_hit_rate``."""
        return hit_rate_of(self.counts, getattr(self, self._totals), self.mode, self.zero_division)
