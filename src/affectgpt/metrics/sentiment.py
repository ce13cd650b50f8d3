"""The sentiment score as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.metrics.base import ScoreMetric
from affectgpt.metrics.functional.sentiment import ANSWERS, sentiment_counts, sentiment_of
from affectgpt.metrics.labels import check_mode


class SentimentScore(ScoreMetric):
    """Weighted F1 and accuracy of positive against negative.

    What is computed, what the modes mean and what ``compute`` returns: ``functional.sentiment_score``.

    Args:
        mode: ``official`` or ``strict``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the mode is unknown.

    Examples:
        >>> import torch
        >>> from affectgpt.metrics import SentimentScore
        >>> score = SentimentScore()
        >>> score.update(["positive", "negative", "neutral"], torch.tensor([1.5, -0.2, 2.0]))
        >>> round(float(score.compute()["accuracy"]), 3)
        0.667
    """

    plotted = ("weighted_f1", "accuracy")

    def __init__(self, mode: str = "official", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = check_mode(mode)
        self._state = f"answers_{mode}"
        self.add_state(self._state, torch.zeros((3, len(ANSWERS)), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[str], target: Tensor | Sequence[float]) -> None:
        """Add a batch.

        Args:
            preds: "positive", "negative" or "neutral" per sample.
            target: True scores, float ``[N]``.

        Raises:
            DataError: If lengths differ, or (``strict``) a target is NaN.
        """
        total: Tensor = getattr(self, self._state)
        setattr(self, self._state, total + sentiment_counts(preds, target, self.mode).to(total.device))

    def compute(self) -> dict[str, Tensor]:
        """The scores of everything that was added; see ``functional.sentiment_score``."""
        return sentiment_of(getattr(self, self._state), self.mode)
