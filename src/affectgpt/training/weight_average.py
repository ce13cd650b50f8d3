"""Keeps a moving average of the trained weights, which validation scores and checkpoints hold."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.training.sharding import ShardedStrategy

CURRENT = "affectgpt_current_weights"
"""Under this key a checkpoint has the weights that training goes on with; its ``state_dict`` has their average."""


class WeightAverage(lightning.Callback):
    """An exponential moving average of the trained weights.

    After each optimiser step ``average += (1 - decay) * (weight - average)``, in float32; in step ``n`` ``decay`` is at
    most ``(1 + n) / (10 + n)``, so that a short run forgets its start too. Validation runs with the average, the
    weights in a checkpoint are the average, and so are those of the model at the end; a resumed run goes on from the
    weights themselves. Frozen weights are not copied: the average takes as much memory as the trained ones.

    Args:
        decay: How much of the average stays in a step.

    Raises:
        ConfigError: If ``decay`` is not at least 0 and below 1, or ranks share the weights (``fsdp2``).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"WeightAverage: decay={decay:g}, but must be at least 0 and below 1")
        self.decay = decay
        self._average: dict[str, Tensor] = {}
        self._step = 0
        self._is_in_model = False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuse what would lose the average.

        Raises:
            ConfigError: If ranks share the weights, or checkpoints are of weights alone.
        """
        if isinstance(trainer.strategy, ShardedStrategy):
            raise ConfigError(
                "WeightAverage does not work with fsdp2; average checkpoints afterwards: affectgpt convert --average"
            )
        if any(getattr(saver, "save_weights_only", False) for saver in trainer.checkpoint_callbacks):
            raise ConfigError("WeightAverage needs whole checkpoints; leave save_weights_only of ModelCheckpoint out")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin with the weights as they are, unless a checkpoint has an average."""
        if not self._average:
            self._average = {name: p.detach().float().clone() for name, p in _trained(pl_module)}
        self._average = {name: self._average[name].to(p.device) for name, p in _trained(pl_module)}
        self._step, self._is_in_model = trainer.global_step, False

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the weights of a step into the average."""
        if trainer.global_step == self._step:  # gradients are accumulated
            return
        self._step = trainer.global_step
        stays = min(self.decay, (1 + self._step) / (10 + self._step))
        averages = [self._average[name] for name, _ in _trained(pl_module)]
        torch._foreach_lerp_(averages, [p.detach().float() for _, p in _trained(pl_module)], 1 - stays)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Score the average."""
        self._exchange(pl_module, average_in_model=True)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on with the weights."""
        self._exchange(pl_module, average_in_model=False)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave the average in the model."""
        self._exchange(pl_module, average_in_model=True)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average as the weights, and the weights beside it."""
        if not self._average:
            return
        state = checkpoint["state_dict"]
        inside = {name: p.detach() for name, p in _trained(pl_module)}
        average, current = (inside, self._average) if self._is_in_model else (self._average, inside)
        checkpoint[CURRENT] = {name: tensor.to(state[name].dtype) for name, tensor in current.items()}
        checkpoint["state_dict"] = {**state, **{name: t.to(state[name].dtype) for name, t in average.items()}}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the average out of the model, which has read it, and give it the weights themselves.

        Raises:
            CheckpointError: If the checkpoint's weights are not those of this model.
        """
        if trainer.state.fn != "fit" or CURRENT not in checkpoint:
            return
        current, trained = checkpoint[CURRENT], dict(_trained(pl_module))
        fits = isinstance(current, dict) and set(current) == set(trained)
        if not fits or any(not isinstance(t, Tensor) or t.shape != trained[n].shape for n, t in current.items()):
            raise CheckpointError("the checkpoint has the average of other weights than those that are trained here")
        self._average = {name: p.detach().float().clone() for name, p in trained.items()}
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(current[name])

    @torch.no_grad()
    def _exchange(self, module: lightning.LightningModule, *, average_in_model: bool) -> None:
        if not self._average or average_in_model == self._is_in_model:
            return
        for name, parameter in _trained(module):
            inside = parameter.detach().float().clone()
            parameter.copy_(self._average[name])
            self._average[name] = inside
        self._is_in_model = average_in_model


def _trained(module: lightning.LightningModule) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
