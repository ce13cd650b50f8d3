"""One optimiser step over losses that are computed one after the other, on ranks that walk in step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor


def take_step(model: Any, losses: Sequence[Callable[[], Tensor]], clip_norm: float | None) -> None:
    """Take a step with the sum of some losses.

    Ranks exchange their gradients once, with those of the last loss. Every rank must have equally many.

    Args:
        model: An ``AffectGPT`` in training that leaves its steps to an objective.
        losses: Each computes one loss, with its own forward pass.
        clip_norm: Largest norm of the gradient; ``None`` for no clipping.
    """
    optimizer, strategy = model.optimizers(), model.trainer.strategy
    for number, loss_of in enumerate(losses, start=1):
        loss = loss_of()
        waits = number < len(losses) and isinstance(strategy, ParallelStrategy)
        with strategy.block_backward_sync() if waits else nullcontext():
            model.manual_backward(loss)
    if clip_norm is not None:
        model.clip_gradients(optimizer, gradient_clip_val=clip_norm, gradient_clip_algorithm="norm")
    optimizer.step()
    optimizer.zero_grad()
    model.lr_schedulers().step()
