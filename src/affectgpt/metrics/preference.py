"""The score of preferences between two descriptions as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.metrics.base import ScoreMetric
from affectgpt.metrics.functional.preference import preference_counts, preference_score_of
from affectgpt.metrics.labels import check_mode


class PreferenceScore(ScoreMetric):
    """Weighted F1 and accuracy of preferences between two descriptions: Track 3 of MER2026.

    See ``functional.preference_score`` for the figures, the modes and the result of ``compute``.

    Args:
        mode: ``official`` or ``strict``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the mode is unknown.

    Examples:
        >>> score = PreferenceScore(mode="strict")
        >>> score.update(["a1", "same", "The second: a2."], ["a1", "a2", "a2"])
        >>> round(float(score.compute()["accuracy"]), 3)
        0.667
    """

    plotted = ("weighted_f1", "accuracy")

    def __init__(self, mode: str = "official", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = check_mode(mode)
        self._state = f"preferences_{mode}"
        self.add_state(self._state, torch.zeros(3, 4, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def counts(self) -> Tensor:
        """The summed counts, int64 ``[3, 4]``: samples by true preference and answer."""
        total: Tensor = getattr(self, self._state)
        return total

    def update(self, preds: Sequence[Any], target: Sequence[str]) -> None:
        """Add a batch.

        Args:
            preds: An answer per sample, see ``functional.parse_preference``.
            target: ``a1``, ``a2`` or ``same`` per sample.

        Raises:
            DataError: If lengths differ, an answer is not a string, or a target is not a preference.
        """
        counts = preference_counts(preds, target, self.mode)
        setattr(self, self._state, self.counts + counts.to(self.counts.device))

    def compute(self) -> dict[str, Tensor]:
        """The scores of all added samples; see ``functional.preference_score``."""
        return preference_score_of(self.counts, self.mode)
