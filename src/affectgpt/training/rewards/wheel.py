"""Rewards from the emotion wheel: F1, precision, recall and the hit rate of one answer."""

from __future__ import annotations

import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.metrics.functional.per_sample import emotion_sample_scores
from affectgpt.metrics.labels import check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.training.rewards.base import RatedAnswers, Reward

FIGURES = ("f1", "precision", "recall")


class WheelReward(Reward):
    """A figure of the emotion wheel for one answer, averaged over the wheels in which its sample counts.

    AffectGPT-R1 (arXiv 2508.01318) takes the F1; MER-R1 (arXiv 2606.27652) precision and recall apart, each normalised
    within its group before they are added.

    Args:
        figure: ``f1``, ``precision`` or ``recall``.
        wheel: ``builtin``, or a folder with the word tables of the authors.
        level: Ring of the wheels, 1 or 2.
        mode: ``strict`` counts words that no wheel knows against the precision, so that they cannot be used to fill
            an answer; ``official`` leaves them out.

    Raises:
        ConfigError: If the figure, the wheel, the level or the mode does not exist.
    """

    def __init__(
        self, figure: str = "f1", wheel: str | EmotionWheel = "builtin", level: int = 1, mode: str = "strict"
    ) -> None:
        if figure not in FIGURES:
            raise ConfigError(f"figure is {figure!r}; choose one of {', '.join(FIGURES)}")
        self.figure = figure
        self.wheel = wheel_of(wheel)
        self.level = level
        self.mode = check_mode(mode)

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: 0 to 1, and 0 where no wheel knows a true label."""
        scores = emotion_sample_scores(answers.labels, answers.target, self.wheel, self.level, self.mode)
        return torch.nan_to_num(scores.mean_over_wheels()[self.figure], nan=0.0)


class HitReward(Reward):
    """1 where an answer names the group of a true label in at least half of the wheels in which its sample counts.

    Args:
        wheel: ``builtin``, or a folder with the word tables of the authors.
        level: Ring of the wheels, 1 or 2.
        mode: ``strict`` or ``official``.
    """

    def __init__(self, wheel: str | EmotionWheel = "builtin", level: int = 1, mode: str = "strict") -> None:
        self.wheel = wheel_of(wheel)
        self.level = level
        self.mode = check_mode(mode)

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: 0 or 1."""
        scores = emotion_sample_scores(answers.labels, answers.target, self.wheel, self.level, self.mode)
        num_hit = ((scores.hits > 0) & scores.keep).sum(1)
        return ((2 * num_hit >= scores.keep.sum(1)) & (num_hit > 0)).double()


def wheel_of(wheel: str | EmotionWheel) -> EmotionWheel:
    """The wheel itself, the built-in one for ``builtin``, or that of a folder with the authors' word tables."""
    if isinstance(wheel, EmotionWheel):
        return wheel
    return EmotionWheel.builtin() if wheel == "builtin" else EmotionWheel.official(wheel)
