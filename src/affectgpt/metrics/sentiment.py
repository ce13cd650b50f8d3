"""The sentiment score as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from affectgpt.metrics.base import SentimentMetric
from affectgpt.metrics.functional.sentiment import sentiment_counts, sentiment_of


class SentimentScore(SentimentMetric):
    """Weighted F1 and accuracy of positive against negative.

    ``functional.sentiment_score`` explains the figures, the modes and the result of ``compute``.

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

    def update(self, preds: Sequence[str], target: Tensor | Sequence[float]) -> None:
        """Add a batch.

        Args:
            preds: "positive", "negative" or "neutral" per sample.
            target: True scores, float ``[N]``.

        Raises:
            DataError: If the lengths differ, a target is a word, or (``strict``) one is NaN.
        """
        self._add(sentiment_counts(preds, target, self.mode))

    def compute(self) -> dict[str, Tensor]:
        """The scores over all samples so far; see ``functional.sentiment_score``."""
        return sentiment_of(self.counts, self.mode)
