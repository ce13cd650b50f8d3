"""Skips steps that are not finite, stops a run that has too many, and keeps weights that are not finite off disk."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from affectgpt.errors import CheckpointError, ConfigError, DataError, first_few
from affectgpt.types import Batch

log = logging.getLogger(__name__)

REPORT = "non_finite.jsonl"
MAX_NAMES = 3
LARGEST_GRADIENT = 1e18
"""Above it g^2 overflows in float32, and with it Adam's second moment: the weight then never moves again."""


class FiniteGuard(lightning.Callback):
    """Skips an optimiser step whose loss or gradients are not finite, on all ranks.

    Before each optimiser step the ranks vote: if one of them has a loss or a gradient that is NaN or infinite, or a
    gradient above ``LARGEST_GRADIENT``, no rank takes the step, and weights and moments stay as they were. The keys of
    the samples of every rank are written to ``non_finite.jsonl``. The ranks exchange one number per step and wait for
    it, because the decision must be known before the optimiser is called. ``affectgpt fit`` adds this callback unless
    the configuration has one.

    Weights that are not finite are never written to a checkpoint, and end the run with an error.

    Args:
        max_skipped: Steps that may be skipped in the whole run; one more stops it.
        folder: Where the file is written; by default the trainer's ``default_root_dir``.

    Raises:
        ConfigError: If ``max_skipped`` is negative, or the precision is ``16-mixed``, whose scaler itself skips steps.
        DataError: During training, if more than ``max_skipped`` steps are not finite, if all steps were skipped, or if
            the weights are no longer finite.
        CheckpointError: If weights that are not finite would be written to a checkpoint.
    """

    def __init__(self, max_skipped: int = 10, folder: str | None = None) -> None:
        if max_skipped < 0:
            raise ConfigError(f"FiniteGuard: max_skipped={max_skipped}, but it must be 0 or more")
        self.max_skipped = max_skipped
        self.folder = folder
        self.num_skipped = 0
        self._num_taken = 0
        self._alone = False
        self._losses: list[Tensor] = []
        self._keys: list[str] = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuse a precision whose scaler skips steps itself.

        Raises:
            ConfigError: If the precision is ``16-mixed``.
        """
        if trainer.precision == "16-mixed":
            raise ConfigError(
                "FiniteGuard does not work with precision 16-mixed, whose gradient scaler skips steps by design; use "
                "bf16-mixed, or leave the guard out"
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
        """Vote, and remove the gradients if a rank votes against the step.

        Raises:
            DataError: If more than ``max_skipped`` steps were skipped.
        """
        losses, keys = torch.stack(self._losses), self._keys
        self._losses, self._keys = [], []
        finite = torch.isfinite(losses).all() & gradients_are_usable(pl_module.parameters())
        votes = trainer.strategy.reduce(finite.float(), reduce_op="sum")
        if int(votes) == trainer.world_size:
            self._num_taken += 1
            return
        self.num_skipped += 1
        wrong = [] if finite else [name for name, p in pl_module.named_parameters() if not gradients_are_usable([p])]
        shown = [loss if math.isfinite(loss) else str(loss) for loss in losses.tolist()]  # JSON has no NaN
        report, everyone = self._report(trainer, {"losses": shown, "parameters": wrong[:MAX_NAMES], "keys": keys})
        samples = first_few(key for rank in everyone for key in rank["keys"])
        if names := _not_finite(trainer, pl_module):
            raise DataError(
                f"training stopped at step {trainer.global_step}: {_weights(names)}, and no further step can repair "
                f"them. The step trained on the samples {samples}; {report} has the details. Resume from an earlier "
                "checkpoint with a lower optim.lr, or set trainer.gradient_clip_val"
            )
        if self.num_skipped > self.max_skipped:
            raise DataError(
                f"training stopped at step {trainer.global_step}: {self.num_skipped} steps had a loss or a gradient "
                f"that is not finite, and max_skipped is {self.max_skipped}. The last one trained on the samples "
                f"{samples}; {report} lists those of every such step. Check them, then lower optim.lr or set "
                "trainer.gradient_clip_val"
            )
        log.warning(
            "step %d is skipped: its loss or gradients are not finite; samples %s; see %s",
            *(trainer.global_step, samples, report),
        )
        for parameter in pl_module.parameters():
            parameter.grad = None  # an optimiser skips parameters without a gradient

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Fail a run that learnt nothing, or whose weights are not finite.

        Raises:
            DataError: If every step was skipped, or the weights are not finite.
        """
        if names := _not_finite(trainer, pl_module):
            raise DataError(
                f"training ended, but {_weights(names)}; resume from an earlier checkpoint, with a lower optim.lr"
            )
        if self.num_skipped and not self._num_taken:
            raise DataError(
                f"training ended, but learnt nothing: all its steps ({self.num_skipped}) had a loss or a gradient that "
                f"is not finite; {self._path(trainer)} lists the samples of each step"
            )

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Check later checkpoints on this rank alone: after an error other ranks may no longer answer."""
        self._alone = not isinstance(exception, SIGTERMException)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to save weights that are not finite; every rank must call this.

        Raises:
            CheckpointError: If a trained weight is NaN or infinite.
        """
        if names := _not_finite(trainer, pl_module, alone=self._alone):
            raise CheckpointError(
                f"no checkpoint is written at step {trainer.global_step}: {_weights(names)}. Earlier checkpoints are "
                "unchanged; resume from one of them, with a lower optim.lr or with trainer.gradient_clip_val"
            )

    def state_dict(self) -> dict[str, Any]:
        """The numbers of skipped steps and of steps taken."""
        return {"num_skipped": self.num_skipped, "num_taken": self._num_taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the counts."""
        self.num_skipped = state_dict["num_skipped"]
        self._num_taken = state_dict.get("num_taken", 0)

    def _path(self, trainer: lightning.Trainer) -> Path:
        return Path(self.folder or trainer.default_root_dir) / REPORT

    def _report(self, trainer: lightning.Trainer, facts: dict[str, Any]) -> tuple[Path, list[dict[str, Any]]]:
        """Append a line about the step, with the samples of every rank."""
        everyone: list[Any] = [facts]
        if trainer.world_size > 1:
            everyone = [None] * trainer.world_size
            torch.distributed.all_gather_object(everyone, facts)
        path = self._path(trainer)
        if trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
            line = {"step": trainer.global_step, "epoch": trainer.current_epoch, "ranks": everyone}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return path, everyone


def gradients_are_finite(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Whether no gradient holds NaN or infinity, as a bool on the device; of sharded tensors, only this rank's shard.

    Examples:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([1.0, float("nan")])
        >>> bool(gradients_are_finite([weight]))
        False
    """
    return torch.isfinite(_largest(parameters))


def gradients_are_usable(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Whether all gradients are finite and at most ``LARGEST_GRADIENT``, as a bool on the device."""
    return _largest(parameters) <= LARGEST_GRADIENT  # NaN is not


def _largest(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Largest absolute gradient, on the device; NaN if any is NaN; of sharded tensors, only this rank's shard."""
    grads = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in parameters if p.grad is not None]
    grads = [grad for grad in grads if grad.numel()]  # a rank may hold no rows of a small matrix
    if not grads:
        return torch.tensor(0.0)
    # a sum of finite numbers may overflow; the largest magnitude cannot
    return torch.stack([norm.float() for norm in torch._foreach_norm(grads, float("inf"))]).max()


def _not_finite(trainer: lightning.Trainer, module: nn.Module, *, alone: bool = False) -> list[str]:
    """Names of trained weights that hold NaN or infinity, and of running statistics that hold NaN.

    Ranks that hold the same weights get the same names; if they hold shards, all ranks must call this.

    Args:
        trainer: The trainer.
        module: The model.
        alone: Whether to check only this rank's shards, because other ranks may not answer.
    """
    named: list[tuple[str, Tensor]] = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    named += [
        (name, buffer) for name, buffer in module.named_buffers() if name.endswith(("running_mean", "running_var"))
    ]
    local = {name: value.to_local() if isinstance(value, DTensor) else value for name, value in named}
    local = {name: value.detach() for name, value in local.items() if value.numel() and value.is_floating_point()}
    sharded = any(isinstance(value, DTensor) for _, value in named)
    names: list[str] = []
    if local:
        largest = torch._foreach_norm(list(local.values()), float("inf"))
        finite = torch.isfinite(torch.stack([norm.float() for norm in largest])).tolist()
        names = [name for name, fine in zip(local, finite, strict=True) if not fine]
    if not sharded or alone or trainer.world_size == 1:
        return names
    everyone: list[list[str]] = [[] for _ in range(trainer.world_size)]
    torch.distributed.all_gather_object(everyone, names)
    return sorted({name for found in everyone for name in found})


def _weights(names: list[str]) -> str:
    return f"{len(names)} weights are not finite ({first_few(names, MAX_NAMES)})"
