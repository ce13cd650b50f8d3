"""Several rewards with their weights: rated apart, so that each can be logged, and added."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.registry import REWARDS, Spec
from affectgpt.training.rewards.base import RatedAnswers, Reward


class RewardMix:
    """Named rewards and their weights.

    Args:
        rewards: Name in the logs to ``{name, args, weight}`` of a registered reward; the weight is 1 by default, and
            args may be left out. A bare string is the registered name.

    Attributes:
        weights: Name to weight.
        needs_views: Whether one of them does, see ``Reward``.

    Raises:
        ConfigError: If there is no reward, one is unknown, or a weight is no finite number.

    Examples:
        >>> mix = RewardMix({"f1": {"name": "wheel"}, "short": {"name": "length", "args": {"free": 8, "most": 16}}})
        >>> answers = RatedAnswers(("a",), ("glad",), (("glad",),), (("joyful",),), (12,), (True,))
        >>> {name: values.tolist() for name, values in mix(answers).items()}
        {'f1': [1.0], 'short': [-0.5]}
    """

    def __init__(self, rewards: Mapping[str, Mapping[str, Any] | str]) -> None:
        if not rewards:
            raise ConfigError(f"there is no reward to learn from; name one of {', '.join(REWARDS.names())}")
        self.weights: dict[str, float] = {}
        self._specs: dict[str, Spec] = {}
        self._rewards: dict[str, Reward] = {}
        for name, given in rewards.items():
            spec = {"name": given} if isinstance(given, str) else dict(given)
            weight = spec.pop("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
                raise ConfigError(f"reward {name!r}: the weight is {weight!r}; expected a finite number")
            self.weights[name] = float(weight)
            self._specs[name] = Spec.of(spec)
            self._rewards[name] = REWARDS.build(self._specs[name])

        self.needs_views = any(reward.needs_views for reward in self._rewards.values())

    def to_json(self) -> dict[str, Any]:
        """The rewards by their names in the logs, with their arguments and weights, as they were given."""
        return {name: {**spec.to_json(), "weight": self.weights[name]} for name, spec in self._specs.items()}

    def __call__(self, answers: RatedAnswers) -> dict[str, Tensor]:
        """Rate every answer by every reward, without the weights: name to float64 ``[N]``.

        Raises:
            DataError: If a reward gives another number of figures, or one that is not finite.
        """
        rated = {}
        for name, reward in self._rewards.items():
            values = torch.as_tensor(reward(answers)).double()
            if values.shape != (len(answers),):
                raise DataError(f"reward {name!r} gave shape {list(values.shape)} for {len(answers)} answers")
            if not values.isfinite().all():
                wrong = [answers.keys[i] for i in (~values.isfinite()).nonzero().flatten().tolist()]
                raise DataError(f"reward {name!r} is not finite for {first_few(dict.fromkeys(wrong))}")
            rated[name] = values
        return rated

    def add(self, rated: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum, float64 ``[N]``."""
        return torch.stack([self.weights[name] * values for name, values in rated.items()]).sum(0)
