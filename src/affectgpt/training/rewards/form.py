"""Rewards for the form of an answer: its format, its length, the number of its labels, unknown words, repetition."""

from __future__ import annotations

import re
from collections import Counter

import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.metrics.functional.per_sample import unseen_words
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.training.rewards.base import RatedAnswers, Reward
from affectgpt.training.rewards.wheel import wheel_of

_THINK_THEN_ANSWER = re.compile(r"\s*<think>(?!.*<think>).+</think>\s*<answer>(?!.*<answer>).+</answer>\s*", re.DOTALL)


class FormatReward(Reward):
    """1 where an answer has the asked form.

    Args:
        form: ``labels``: labels can be read out of it, and the model ended it itself. ``think``: thoughts in
            ``<think>`` tags, then labels in ``<answer>`` tags, and nothing else (AffectGPT-R1).

    Raises:
        ConfigError: If there is no such form.
    """

    def __init__(self, form: str = "labels") -> None:
        if form not in ("labels", "think"):
            raise ConfigError(f"form is {form!r}; choose labels or think")
        self.form = form

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: 0 or 1."""
        return torch.tensor(
            [
                bool(labels) and ended and (self.form == "labels" or _THINK_THEN_ANSWER.fullmatch(text) is not None)
                for text, labels, ended in zip(answers.texts, answers.labels, answers.ended, strict=True)
            ],
            dtype=torch.float64,
        )


class LengthPenalty(Reward):
    """0 up to ``free`` tokens, then falling in a straight line to -1 at ``most`` tokens (the soft penalty of DAPO).

    Args:
        free: Tokens that cost nothing.
        most: Tokens from which an answer costs 1.

    Raises:
        ConfigError: If ``most`` is not above ``free``, or one is below 0.
    """

    def __init__(self, free: int, most: int) -> None:
        if not 0 <= free < most:
            raise ConfigError(f"length penalty: free is {free}, most is {most}; expected 0 <= free < most")
        self.free, self.most = free, most

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: -1 to 0."""
        num_tokens = torch.tensor(answers.num_tokens, dtype=torch.float64)
        return -((num_tokens - self.free) / (self.most - self.free)).clamp(0, 1)


class LabelCountPenalty(Reward):
    """0 where an answer has ``least`` to ``most`` labels; each one too few or too many costs ``per_label``, 1 at most.

    Args:
        least: Fewest labels that cost nothing.
        most: Most labels that cost nothing.
        per_label: Cost of one label too few or too many.

    Raises:
        ConfigError: If ``least`` is above ``most``, or a number is below 0.
    """

    def __init__(self, least: int = 1, most: int = 8, per_label: float = 0.25) -> None:
        if not 0 <= least <= most or per_label < 0:
            raise ConfigError(
                f"label count: least is {least}, most is {most}, per_label is {per_label}; expected "
                "0 <= least <= most and per_label >= 0"
            )
        self.least, self.most, self.per_label = least, most, per_label

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: -1 to 0."""
        num_labels = torch.tensor([len(labels) for labels in answers.labels], dtype=torch.float64)
        off = (self.least - num_labels).clamp(min=0) + (num_labels - self.most).clamp(min=0)
        return -(self.per_label * off).clamp(max=1)


class UnseenWordPenalty(Reward):
    """Minus the share of an answer's labels that the wheels do not know.

    Args:
        wheel: ``builtin``, or a folder with the word tables of the authors.
    """

    def __init__(self, wheel: str | EmotionWheel = "builtin") -> None:
        self.wheel = wheel_of(wheel)

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: -1 to 0, and 0 for an answer without labels."""
        shares = [
            -sum(unseen_words([list(labels)], self.wheel, "strict").values()) / len(labels) if labels else 0.0
            for labels in answers.labels
        ]
        return torch.tensor(shares, dtype=torch.float64)


class RepetitionPenalty(Reward):
    """Minus the share of an answer's runs of words that repeat an earlier run.

    Args:
        num_words: Length of a run.

    Raises:
        ConfigError: If a run has no word.
    """

    def __init__(self, num_words: int = 3) -> None:
        if num_words < 1:
            raise ConfigError(f"repetition: num_words is {num_words}; expected a whole number from 1")
        self.num_words = num_words

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: -1 to 0."""
        return torch.tensor([-self._share(text) for text in answers.texts], dtype=torch.float64)

    def _share(self, text: str) -> float:
        words = re.findall(r"\w+", text.lower())
        runs = Counter(zip(*(words[i:] for i in range(self.num_words)), strict=False))
        return (runs.total() - len(runs)) / runs.total() if runs else 0.0
