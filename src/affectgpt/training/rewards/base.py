"""What is rewarded, and the contract of a reward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class RatedAnswers:
    """N answers that a reward rates.

    Attributes:
        keys: Sample of each answer.
        texts: What the model wrote, thoughts included.
        labels: The labels that were read out of each text, see ``affectgpt.metrics.parse_labels``.
        target: The true labels of each sample.
        num_tokens: Length of each answer, its end included.
        ended: Whether the model ended the answer itself; ``False`` where it was cut at the limit.
        unsupported: Labels of each answer that stay though their only evidence is gone; empty where no reward asked.
    """

    keys: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    target: tuple[tuple[str, ...], ...]
    num_tokens: tuple[int, ...]
    ended: tuple[bool, ...]
    unsupported: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


class Reward(ABC):
    """Rates answers; derive from it and register the class in ``affectgpt.registry.REWARDS``.

    Attributes:
        needs_views: Whether it reads ``RatedAnswers.unsupported``, which costs further answers to every clip.
    """

    needs_views: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer.

        Args:
            answers: N answers.

        Returns:
            float64 ``[N]``, finite; more is better.
        """
