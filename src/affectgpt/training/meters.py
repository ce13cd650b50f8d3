"""Logs how a run goes beside its loss: rates, gradient norms, speed, waiting for data, memory, bad samples."""

from __future__ import annotations

import os
import time
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from affectgpt.training.memory_estimate import llm_config
from affectgpt.training.step_loss import DataRanks

PEAK_TFLOPS = {"B200": 2250.0, "H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "4090": 165.0}
"""Dense bf16 matrix rate of devices by a piece of their names, in 10^12 operations a second (the makers' sheets)."""


class RunMeters(lightning.Callback):
    """Logs every ``log_every_n_steps`` steps, averaged over the steps since the last time.

    - ``train/lr``: the highest rate of all groups of weights.
    - ``train/grad_norm``, and of each part ``train/grad_norm/PART``: before gradients are clipped.
    - ``speed/samples_per_s``, ``speed/tokens_per_s``: of all ranks; tokens without padding. Other ranks are taken to
      have as many as the first.
    - ``speed/mfu``: operations of the language model over what the device could make. Encoders and the output layer do
      not count, so it is a lower bound. Only where the device's rate is known.
    - ``speed/data_wait``: share of the host's time between batches, which is what it waits for data.
    - ``memory/gb``: the highest mark of the device's memory, or of this process's where there is no device.
    - ``data/bad_samples``: samples that were replaced so far.

    Nothing but the gradient norms is computed on the device, and nothing is waited for.

    Args:
        peak_tflops: The device's rate in 10^12 operations a second; by default found by its name.
    """

    def __init__(self, peak_tflops: float | None = None) -> None:
        self.peak_tflops = peak_tflops
        self._since = self._batch_ended = self._waited = self._paused = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the device's rate, and begin to count."""
        if self.peak_tflops is None and torch.cuda.is_available():
            name = torch.cuda.get_device_name()
            self.peak_tflops = next((rate for piece, rate in PEAK_TFLOPS.items() if piece in name), None)
        self._begin(pl_module)
        self._batch_ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count what was waited for the batch."""
        self._waited += time.perf_counter() - self._batch_ended

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log gradient norms."""
        if not self._is_due(trainer.global_step + 1, trainer):
            return
        norms = gradient_norms(pl_module)
        for name, norm in norms.items():
            pl_module.log(f"train/grad_norm/{name}", norm)
        if norms:
            pl_module.log("train/grad_norm", torch.stack(list(norms.values())).norm())

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the rest."""
        self._batch_ended = time.perf_counter()
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not (stepped and self._is_due(trainer.global_step, trainer)):
            return
        seconds = self._batch_ended - self._since
        figures = {"train/lr": max(group["lr"] for group in trainer.optimizers[0].param_groups)}
        figures["speed/data_wait"] = self._waited / max(seconds, 1e-9)
        figures["memory/gb"] = memory_mark() / 1e9
        figures |= self._counted(pl_module, seconds)
        budget = getattr(trainer.datamodule, "budget", None)  # type: ignore[attr-defined]
        if budget is not None:
            figures["data/bad_samples"] = float(budget.found)
        for name, value in figures.items():
            # a tensor of the host: Lightning would wait for a Python number on its way to the device
            pl_module.log(name, torch.tensor(value), batch_size=1)
        self._begin(pl_module)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Let it go on: a validation is neither training nor waiting."""
        away = time.perf_counter() - self._paused
        self._since += away
        self._batch_ended += away

    def _counted(self, module: Any, seconds: float) -> dict[str, float]:
        """Figures of what the model saw since the last time."""
        seen = getattr(getattr(module, "steps", None), "seen", None)
        if seen is None or not seen.samples:
            return {}
        ranks = DataRanks.of(module).number
        figures = {
            "speed/samples_per_s": ranks * seen.samples / seconds,
            "speed/tokens_per_s": ranks * seen.tokens / seconds,
        }
        if self.peak_tflops is not None:
            operations = seen.tokens * operations_a_token(module, seen.tokens / seen.samples)
            figures["speed/mfu"] = operations / seconds / (self.peak_tflops * 1e12)
        return figures

    def _begin(self, module: Any) -> None:
        self._since, self._waited = time.perf_counter(), 0.0
        if hasattr(module, "steps"):
            module.steps.seen.begin()

    @staticmethod
    def _is_due(step: int, trainer: lightning.Trainer) -> bool:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and step % every == 0


def gradient_norms(module: Any) -> dict[str, Tensor]:
    """Norm of the gradients of each part, float32 on the device; every rank must call it where ranks share weights."""
    squares: dict[str, Tensor] = {}
    shared = False
    for name, parameter in module.named_parameters():
        if parameter.grad is None:
            continue
        grad = parameter.grad
        shared |= isinstance(grad, DTensor)
        local = grad.to_local() if isinstance(grad, DTensor) else grad
        part = name.partition(".")[0]
        square = local.float().square().sum()
        squares[part] = squares[part] + square if part in squares else square
    if not squares:
        return {}
    values = torch.stack(list(squares.values()))
    if shared:
        torch.distributed.all_reduce(values, group=DataRanks.of(module).group)
    return dict(zip(squares, values.sqrt().unbind(), strict=True))


def operations_a_token(model: Any, length: float) -> float:
    """Floating point operations of the language model for one token, forward and backward.

    Of ``n`` frozen weights in its layers 2 n forward and 2 n backward, of trained ones 2 n more for their gradients;
    attention takes 6 x length x width a layer (two products of half a square each, three times). Of a model that ranks
    split, this rank's share.

    Args:
        model: An ``AffectGPT``.
        length: Tokens of a sample on average.
    """
    frozen = trained = 0
    for unit in model.llm.shard_units():
        for parameter in unit.parameters():
            if parameter.requires_grad:
                trained += parameter.numel()
            else:
                frozen += parameter.numel()
    config = llm_config(model)
    attention = 0.0 if config is None else 6.0 * length * int(config.hidden_size) * int(config.num_hidden_layers)
    share = getattr(model.llm, "tensor_share", None)
    return 4.0 * frozen + (6.0 * trained + attention) / (1 if share is None else share.size)


def memory_mark() -> int:
    """The highest mark of the device's memory, or of this process's own, in bytes; 0 where nobody knows."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
