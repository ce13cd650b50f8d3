"""What a model learns by, if not by the cross-entropy of given answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import lightning
from torch import Tensor

from affectgpt.types import Batch


class Objective(ABC):
    """Learns from batches; derive from it and register the class in ``affectgpt.registry.OBJECTIVES``.

    Attributes:
        is_automatic: Whether the trainer takes the optimiser's steps; ``False``: ``train`` takes them.
        learns: What is learnt from, in words, for the model's card; by default the name of the class.
        uses: Settings of the model that act in it: ``slot_dropout``, ``modality_dropout``.
    """

    is_automatic: bool = True
    learns: ClassVar[str] = ""
    uses: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.learns = cls.__dict__.get("learns", f"the objective {cls.__name__}")

    @abstractmethod
    def train(self, model: Any, batch: Batch) -> Tensor | None:
        """Learn from one batch.

        Args:
            model: An ``AffectGPT`` in training.
            batch: Clips on the model's device.

        Returns:
            The loss from which the trainer begins its backward pass; ``None`` where the objective took the steps.
        """

    def settings(self) -> Mapping[str, Any]:
        """What decides what is learnt, as plain JSON, for the model's card; by default nothing is told."""
        return {}

    def callbacks(self) -> Sequence[lightning.Callback]:
        """What the trainer is to call besides, and to store in checkpoints."""
        return ()


def learn_by(model: Any, objective: Objective) -> None:
    """Let a model learn by an objective from now on.

    Args:
        model: An ``AffectGPT``.
        objective: Such as ``affectgpt.post_training.Grpo``.
    """
    model.steps.objective = objective
    model.automatic_optimization = objective.is_automatic
