"""The score of one of several emotions per sample as a torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.metrics.base import ScoreMetric
from affectgpt.metrics.functional.emotion_classes import MER_CLASSES, emotion_class_counts, emotion_class_score_of
from affectgpt.metrics.labels import check_mode


class EmotionClassScore(ScoreMetric):
    """Weighted F1 and accuracy of one emotion per sample, such as Track 1 of MER2026.

    See ``functional.emotion_class_score`` for the figures, the modes and the result of ``compute``.

    Args:
        classes: The emotions.
        mode: ``official`` or ``strict``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the mode is unknown, or ``classes`` has fewer than two different words.

    Examples:
        >>> score = EmotionClassScore()
        >>> score.update(["happy", "sad"], ["happy", "worried"])
        >>> float(score.compute()["accuracy"])
        0.5
    """

    plotted = ("weighted_f1", "accuracy", "macro_f1")

    def __init__(self, classes: Sequence[str] = MER_CLASSES, mode: str = "official", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = check_mode(mode)
        self.classes = tuple(classes)
        emotion_class_counts([], [], self.classes, self.mode)  # rejects invalid classes
        size = len(self.classes)
        # the name contains the setting, so that a state with another setting is refused
        self._state = f"answers_{size}_{mode}"
        self.add_state(self._state, torch.zeros(size, size + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[str | None], target: Sequence[str]) -> None:
        """Add a batch.

        Args:
            preds: One of the classes per sample.
            target: One of the classes per sample.

        Raises:
            DataError: If lengths differ, a target is not a class, or (``official``) an answer is not.
        """
        counts = emotion_class_counts(preds, target, self.classes, self.mode)
        setattr(self, self._state, self.counts + counts.to(self.counts.device))

    @property
    def counts(self) -> Tensor:
        """The summed counts, int64 ``[C, C + 1]``."""
        total: Tensor = getattr(self, self._state)
        return total

    def compute(self) -> dict[str, Tensor]:
        """The scores of all added samples; see ``functional.emotion_class_score``."""
        return emotion_class_score_of(self.counts, self.classes)
