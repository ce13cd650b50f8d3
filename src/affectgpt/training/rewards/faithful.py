"""A penalty for labels that stay in an answer though their only evidence is gone."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.training.rewards.base import RatedAnswers, Reward


class FaithfulnessPenalty(Reward):
    """Minus the share of an answer's labels that stay though their only evidence is gone.

    See ``affectgpt.metrics.functional.unsupported_labels``. For it every clip is answered six more times: with each of
    picture, sound and words alone, and without it. With a weight of 0 it is logged and not learnt.
    """

    needs_views: ClassVar[bool] = True

    def __call__(self, answers: RatedAnswers) -> Tensor:
        """Rate every answer: -1 to 0, and 0 for an answer without labels.

        Raises:
            ConfigError: If whoever rates did not find out which labels stay.
        """
        if len(answers.unsupported) != len(answers):
            raise ConfigError(
                "the reward faithfulness needs answers to parts of each clip; the objective grpo asks for them"
            )
        shares = [
            -len(stay) / len(labels) if labels else 0.0
            for labels, stay in zip(answers.labels, answers.unsupported, strict=True)
        ]
        return torch.tensor(shares, dtype=torch.float64)
