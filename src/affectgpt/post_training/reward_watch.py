"""Watches whether a rising reward is earned: figures beside the reward, and a flag where length alone explains it."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from affectgpt.metrics.functional.hit_rate import emotion_hit_rate
from affectgpt.metrics.functional.wheel_score import emotion_wheel_score
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.training.rewards.base import RatedAnswers
from affectgpt.types import Labels

MATCHED_SHARE = 0.2
"""A rise is put down to length where answers of equal length show less than this share of it."""


@dataclass(frozen=True)
class LengthShare:
    """A rise of the reward between two sets of answers, as it is and among answers of equal length.

    Attributes:
        rise: Mean reward afterwards less the mean before.
        matched: The same among answers with equally many labels, averaged as those are spread afterwards; NaN where
            no number of labels occurs in both.
        longer: Mean number of labels afterwards less the mean before.
    """

    rise: float
    matched: float
    longer: float

    @property
    def is_length(self) -> bool:
        """Whether the reward rose with the number of labels, and not among answers with equally many."""
        unmatched = math.isnan(self.matched) or self.matched < MATCHED_SHARE * self.rise
        return self.rise > 0 and self.longer > 0 and unmatched


def share_of_length(before: Sequence[tuple[int, float]], after: Sequence[tuple[int, float]]) -> LengthShare:
    """Compare two sets of answers.

    Args:
        before: Number of labels and reward of each answer.
        after: The same, later.

    Examples:
        >>> share_of_length([(1, 0.2), (2, 0.6)], [(2, 0.6), (2, 0.6)]).is_length
        True
        >>> share_of_length([(1, 0.2), (2, 0.6)], [(1, 0.6), (2, 0.9)]).is_length
        False
    """

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    former: dict[int, list[float]] = {}
    for count, reward in before:
        former.setdefault(count, []).append(reward)
    matched = [reward - mean(former[count]) for count, reward in after if count in former]
    return LengthShare(
        rise=mean([reward for _, reward in after]) - mean([reward for _, reward in before]),
        matched=mean(matched) if matched else math.nan,
        longer=mean([count for count, _ in after]) - mean([count for count, _ in before]),
    )


def label_figures(answers: Labels, target: Labels, wheel: EmotionWheel) -> Mapping[str, float]:
    """What to look at beside a reward or a score.

    Args:
        answers: Labels of each answer.
        target: True labels of its clip.
        wheel: The vocabulary.

    Returns:
        ``labels``: labels an answer. ``coverage``: share of the labels that the wheels know. ``label_entropy``:
        entropy in bits of the labels of all answers, 0 where all are the same one. ``f1_strict``: wheel F1 in mode
        ``strict``. ``hit_skill``: hits of the first true label above those on shuffled targets.
    """
    words = Counter(word for row in answers for word in row)
    total = words.total()
    shares = torch.tensor([count / total for count in words.values()], dtype=torch.float64)
    strict = emotion_wheel_score(answers, target, wheel, mode="strict", zero_division=0.0)
    hits = emotion_hit_rate(answers, [row[0] for row in target], wheel, mode="strict", zero_division=0.0)
    return {
        "labels": total / len(answers),
        "coverage": float(strict["coverage"]),
        "label_entropy": float(-(shares * shares.log2()).sum()),
        "f1_strict": float(strict["f1"]),
        "hit_skill": float(hits["hit_skill"]),
    }


def labels_and_rewards(answers: RatedAnswers, rewards: Sequence[float]) -> list[tuple[int, float]]:
    """Number of labels of each answer, and the weighted sum of its rewards."""
    return [(len(labels), reward) for labels, reward in zip(answers.labels, rewards, strict=True)]


class RewardWatch:
    """Remembers the answers of the first and of the latest steps.

    Args:
        num_steps: Steps in each of the two windows.
    """

    def __init__(self, num_steps: int = 20) -> None:
        self.num_steps = num_steps
        self._first: list[list[tuple[int, float]]] = []
        self._latest: deque[list[tuple[int, float]]] = deque(maxlen=num_steps)

    def add(self, rows: Sequence[tuple[int, float]]) -> LengthShare | None:
        """Add the answers of a step.

        Args:
            rows: Number of labels and reward of each, see ``labels_and_rewards``.

        Returns:
            The first window compared with the latest, once both are full and have no step in common.
        """
        rows = list(rows)
        if len(self._first) < self.num_steps:
            self._first.append(rows)
            return None
        self._latest.append(rows)
        if len(self._latest) < self.num_steps:
            return None
        return share_of_length([*chain(*self._first)], [*chain(*self._latest)])

    def state(self) -> dict[str, list[list[tuple[int, float]]]]:
        """What a resumed run goes on with, as plain JSON."""
        return {"first": self._first, "latest": list(self._latest)}

    def restore(self, state: Mapping[str, Sequence[Sequence[Sequence[float]]]]) -> None:
        """Go on from ``state()``."""
        rows = {
            name: [[(int(count), float(reward)) for count, reward in step] for step in steps]
            for name, steps in state.items()
        }
        self._first = rows["first"]
        self._latest = deque(rows["latest"], maxlen=self.num_steps)
