"""What a training changed in the answers to held-out clips: the score before and after, with a paired interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from affectgpt.errors import DataError
from affectgpt.metrics.functional.bootstrap import RESAMPLES, Interval, bootstrap_difference
from affectgpt.metrics.functional.summands import wheel_f1_summands
from affectgpt.metrics.functional.wheel_score import emotion_wheel_score
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.post_training.reward_watch import label_figures
from affectgpt.types import Labels

MOST_LONGER = 0.1
"""Share by which labels a clip may rise before a gain is put down to length."""


@dataclass(frozen=True)
class Gain:
    """Two sets of answers to the same clips.

    Attributes:
        before: Figures of the first answers: ``f1``, ``precision`` and ``recall`` of the wheel, and those of
            ``label_figures``.
        after: The same of the later ones.
        f1: The later F1 less the former, with its paired interval.
        num_clips: How many clips were answered.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    f1: Interval
    num_clips: int

    @property
    def longer(self) -> float:
        """By what share the labels a clip rose."""
        return self.after["labels"] / self.before["labels"] - 1 if self.before["labels"] else float("inf")

    @property
    def is_earned(self) -> bool:
        """Whether F1 rose beyond chance while the labels a clip rose by no more than ``MOST_LONGER``."""
        return self.f1.low > 0 and self.longer <= MOST_LONGER

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "longer": self.longer, "is_earned": self.is_earned}


def gain_of(
    before: Labels, after: Labels, target: Labels, wheel: EmotionWheel | None = None, resamples: int = RESAMPLES
) -> Gain:
    """Compare two sets of answers.

    Args:
        before: Labels of the first answer to each clip.
        after: Labels of the later answer.
        target: True labels.
        wheel: The vocabulary; the built-in one by default.
        resamples: Resamples of the clips for the interval, the same for both sets.

    Raises:
        DataError: If there are no clips, or the numbers differ.

    Examples:
        >>> target = [["happy"], ["sad"], ["angry"]] * 20
        >>> gain = gain_of([["happy"]] * 60, [["joyful"], ["unhappy"], ["calm"]] * 20, target)
        >>> round(gain.f1.value, 2), gain.is_earned
        (0.33, True)
    """
    if not len(before) == len(after) == len(target) or not len(target):
        raise DataError(
            f"{len(before)} answers before, {len(after)} after and {len(target)} clips; expected one of each a clip"
        )
    wheel = wheel or EmotionWheel.builtin()
    later, former = (wheel_f1_summands(answers, target, wheel, zero_division=0.0) for answers in (after, before))
    found = [_figures(answers, target, wheel) for answers in (before, after)]
    difference = bootstrap_difference(later, former, resamples=resamples).difference
    return Gain(found[0], found[1], difference, len(target))


def _figures(answers: Labels, target: Labels, wheel: EmotionWheel) -> dict[str, float]:
    score = emotion_wheel_score(answers, target, wheel, zero_division=0.0)
    return {name: float(score[name]) for name in ("f1", "precision", "recall")} | dict(
        label_figures(answers, target, wheel)
    )
