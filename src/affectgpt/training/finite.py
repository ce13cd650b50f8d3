"""Keeps a run alive over a step that is not finite, and stops it before it learns from many."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from affectgpt.errors import ConfigError, DataError
from affectgpt.types import Batch

log = logging.getLogger(__name__)

REPORT = "non_finite.jsonl"
MAX_NAMES = 3


class FiniteGuard(lightning.Callback):
    """Leaves out an optimiser step whose loss or gradients are not finite, on all ranks alike.

    Before each optimiser step the ranks vote: if one of them has a loss or a gradient that is NaN or infinite, none
    takes the step, and weights and moments stay as they were. The keys of the samples of every rank are written to
    ``non_finite.jsonl``. One number a step is exchanged.

    Args:
        max_skipped: Steps that may be left out in the whole run; one more stops it.
        folder: Where the file is written; by default the trainer's ``default_root_dir``.

    Raises:
        ConfigError: If ``max_skipped`` is negative, or the precision is ``16-mixed``, whose scaler skips steps itself.
        DataError: While training, if more steps than ``max_skipped`` are not finite.
    """

    def __init__(self, max_skipped: int = 10, folder: str | None = None) -> None:
        if max_skipped < 0:
            raise ConfigError(f"FiniteGuard: max_skipped={max_skipped}, but it must be 0 or more")
        self.max_skipped = max_skipped
        self.folder = folder
        self.num_skipped = 0
        self._losses: list[Tensor] = []
        self._keys: list[str] = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuse a precision that has a guard of its own.

        Raises:
            ConfigError: If the precision is ``16-mixed``.
        """
        if trainer.precision == "16-mixed":
            raise ConfigError(
                "FiniteGuard does not go together with precision 16-mixed, whose gradient scaler skips steps by "
                "design; use bf16-mixed, or leave the guard out"
            )

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the samples."""
        self._keys += batch.keys if isinstance(batch, Batch) else [f"batch {batch_idx}"]

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Note the loss, without waiting for the device."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Vote, and take the gradients away if a rank votes against the step.

        Raises:
            DataError: If more steps than ``max_skipped`` were left out.
        """
        losses, keys = torch.stack(self._losses), self._keys
        self._losses, self._keys = [], []
        finite = torch.isfinite(losses).all() & gradients_are_finite(pl_module.parameters())
        votes = trainer.strategy.reduce(finite.float(), reduce_op="sum")
        if int(votes) == trainer.world_size:
            return
        self.num_skipped += 1
        wrong = [] if finite else [name for name, p in pl_module.named_parameters() if not gradients_are_finite([p])]
        shown = [loss if math.isfinite(loss) else str(loss) for loss in losses.tolist()]  # JSON has no NaN
        report = self._report(trainer, {"losses": shown, "parameters": wrong[:MAX_NAMES], "keys": keys})
        if self.num_skipped > self.max_skipped:
            raise DataError(
                f"training stopped at step {trainer.global_step}: {self.num_skipped} steps had a loss or a gradient "
                f"that is not finite, and max_skipped is {self.max_skipped}. {report} names the samples of each; look "
                "at these, then lower optim.lr, or give trainer.gradient_clip_val"
            )
        log.warning("step %d is left out: it is not finite; see %s", trainer.global_step, report)
        for parameter in pl_module.parameters():
            parameter.grad = None  # an optimiser passes over what has no gradient

    def state_dict(self) -> dict[str, Any]:
        """How many steps were left out."""
        return {"num_skipped": self.num_skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.num_skipped = state_dict["num_skipped"]

    def _report(self, trainer: lightning.Trainer, facts: dict[str, Any]) -> Path:
        """Add a line about the step, with the facts of every rank."""
        everyone: list[Any] = [facts]
        if trainer.world_size > 1:
            everyone = [None] * trainer.world_size
            torch.distributed.all_gather_object(everyone, facts)
        path = Path(self.folder or trainer.default_root_dir) / REPORT
        if trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
            line = {"step": trainer.global_step, "epoch": trainer.current_epoch, "ranks": everyone}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return path


def gradients_are_finite(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Whether no gradient holds NaN or infinity, as a bool on the device; of shards, this rank's own are looked at.

    Examples:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([1.0, float("nan")])
        >>> bool(gradients_are_finite([weight]))
        False
    """
    grads = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in parameters if p.grad is not None]
    grads = [grad for grad in grads if grad.numel()]  # a rank may hold no row of a small matrix
    if not grads:
        return torch.tensor(True)
    # a sum of finite numbers may overflow; a largest magnitude cannot
    return torch.isfinite(torch.stack([norm.float() for norm in torch._foreach_norm(grads, float("inf"))])).all()
