"""The mean that a loss is: over the supervised tokens of a whole optimiser step, or its samples, or its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from affectgpt.errors import ConfigError, did_you_mean

LOSSES = ("tokens", "samples", "official")

UNIT = {"tokens": 128, "samples": 1, "official": 1}
"""What the sum of a batch is divided by before the backward pass, for gradients of the usual magnitude: half precision
would overflow with the sums themselves. A power of two: what it takes away is given back without rounding."""


class DataRanks(NamedTuple):
    """The ranks that learn from different data; those that hold one layer together (tensor parallelism) count once.

    Attributes:
        number: How many they are.
        group: Their process group; ``None`` for all ranks.
        peers: Ranks that hold one layer together, this one included.
    """

    number: int
    group: Any = None
    peers: int = 1

    @classmethod
    def of(cls, module: lightning.LightningModule) -> DataRanks:
        """Those of the trainer at hand."""
        mesh = module.device_mesh
        if mesh is None:
            return cls(module.trainer.world_size)
        data = mesh["data_parallel"]
        return cls(data.size(), data.get_group(), mesh["tensor_parallel"].size())


class LossMean:
    """The mean of a loss over all that is added, on all ranks.

    - ``tokens``: every supervised token weighs the same.
    - ``samples``: every sample weighs the same, however long its answer; its own loss is the mean over its tokens.
    - ``official``: every batch weighs the same, as in the published training; its own loss is the mean over its tokens.

    With the first two the same samples give the same loss and gradient however they are dealt out to micro-batches and
    ranks. The number of tokens is not known before the last micro-batch, so a batch's backward pass begins from its
    sum, and ``scale_gradients`` divides once, before gradients are clipped. Sums and counts stay on the device; what
    ranks exchange is two numbers a step, queued behind the gradients.

    Args:
        kind: One of ``LOSSES``.

    Raises:
        ConfigError: If there is no such kind.
    """

    def __init__(self, kind: str = "tokens") -> None:
        if kind not in LOSSES:
            raise ConfigError(f"loss: unknown mean {kind!r}.{did_you_mean(kind, LOSSES)} Known: {', '.join(LOSSES)}")
        self.kind = kind
        self._sums: Tensor | None = None

    def add(self, sample_losses: Tensor, sample_tokens: Tensor) -> Tensor:
        """Add a batch.

        Args:
            sample_losses: float32 ``[B]``, the loss of each sample, summed over its tokens.
            sample_tokens: int64 ``[B]``, the number of those tokens.

        Returns:
            What the backward pass begins from, a scalar: the batch's sum over ``UNIT``.

        Examples:
            >>> mean = LossMean("tokens")
            >>> _ = mean.add(torch.tensor([6.0, 2.0]), torch.tensor([3, 1]))
            >>> _ = mean.add(torch.tensor([9.0]), torch.tensor([1]))
            >>> mean.take().tolist()
            [17.0, 5.0]
        """
        if self.kind == "tokens":
            value, weight = sample_losses.sum(), sample_tokens.sum()
        elif self.kind == "samples":
            value, weight = (sample_losses / sample_tokens.clamp(min=1)).sum(), (sample_tokens > 0).sum()
        else:
            value = sample_losses.sum() / sample_tokens.sum().clamp(min=1)
            weight = torch.ones_like(value)
        sums = torch.stack([value.detach().float(), weight.float()])
        self._sums = sums if self._sums is None else self._sums + sums
        return value / UNIT[self.kind]

    def take(self, device: torch.device | None = None, ranks: DataRanks | None = None) -> Tensor:
        """Sum of what was added and what it is to be divided by, float32 ``[2]``, over all ranks; begins anew.

        Args:
            device: Where the numbers of a rank that added nothing meet those of the others.
            ranks: The ranks to sum over; this one alone, by default.
        """
        sums = torch.zeros(2, device=device) if self._sums is None else self._sums
        self._sums = None
        if ranks is not None and ranks.number > 1:
            torch.distributed.all_reduce(sums, group=ranks.group)
        return sums


def mean_of(sums: Tensor) -> Tensor:
    """The mean that ``LossMean.take`` gave the two numbers of; 0 where nothing was supervised."""
    return sums[0] / sums[1].clamp(min=1)


def scale_gradients(parameters: Iterable[nn.Parameter], sums: Tensor, kind: str, batches: int) -> None:
    """Make gradients that were averaged over batches those of the mean, in place.

    DDP and FSDP average gradients over the ranks, and the trainer over the batches that are accumulated; sums must not
    be averaged, so that is taken back in the same product. The host does not wait for the device.

    Args:
        parameters: Whose gradients; those of shards are scaled on their own ranks.
        sums: As ``LossMean.take`` gave them.
        kind: Of the mean.
        batches: Over how many batches gradients were averaged: ranks times accumulated batches.
    """
    grads = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in parameters if p.grad is not None]
    factor = UNIT[kind] * batches / sums[1].clamp(min=1)
    for device in {grad.device for grad in grads}:
        torch._foreach_mul_([grad for grad in grads if grad.device == device], factor.to(device))


def closure_of_mean(module: lightning.LightningModule, mean: LossMean, closure: Callable[[], Any]) -> Callable[[], Any]:
    """A closure for the optimiser that leaves the gradients of a step's mean, and logs it as ``train/loss``.

    It runs after the last backward pass of a step, before anything reads, clips or takes the gradients.

    Args:
        module: A module in training, whose ``training_step`` gave what ``LossMean.add`` gave.
        mean: What its batches were added to.
        closure: Lightning's own: the forward and backward pass of the step's last batch.
    """

    def scaled() -> Any:
        result = closure()
        ranks = DataRanks.of(module)
        sums = mean.take(module.device, ranks)
        batches = ranks.number * module.trainer.accumulate_grad_batches
        scale_gradients(module.parameters(), sums, mean.kind, batches)
        module.log("train/loss", mean_of(sums), prog_bar=True)
        return result

    return scaled
