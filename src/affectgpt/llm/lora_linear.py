"""Runs the adapter of a linear layer in few passes over memory, with the values of peft.

peft drops, casts, multiplies and adds in steps of their own, each of which reads and writes all tokens, and keeps the
dropped input of every layer for the backward pass. Here an adapter is one function of autograd:

    out = base + c s (m * x) A^T B^T        m: 1 where the input is kept, c = 1 / (1 - p), s: peft's scaling

Factors go into the matrix products, and what is kept is ``x``, which layers beside each other share, and ``m``.

``N`` tokens, ``D`` inputs, ``O`` outputs, ``R`` rank.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor

from affectgpt.llm.split_linear import SplitLinear, TensorShare


class LoraLinear(Linear):
    """A linear layer with one plain adapter; whatever else peft can do with it, peft does.

    Made by ``quicken``, which changes the class of a layer of peft.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs, ``[..., D]`` to ``[..., O]``."""
        names = self.active_adapters
        if self.disable_adapters or self.merged or args or kwargs or len(names) != 1 or names[0] in self.lora_variant:
            found: Tensor = super().forward(x, *args, **kwargs)
            return found
        (name,) = names
        dropout = self.lora_dropout[name]
        # the mode of the dropout itself counts, as in peft: it may be off while the layer trains
        rate = dropout.p if isinstance(dropout, torch.nn.Dropout) and dropout.training else 0.0
        a, b, scaling = self.lora_A[name].weight, self.lora_B[name].weight, float(self.scaling[name])
        layer: Any = self.base_layer
        if isinstance(layer, SplitLinear):
            x, (a, b) = layer.enter(x), layer.adapter(a, b)
            return layer.leave(self._adapted(layer.product(x), x, a, b, scaling, rate, layer.input_share))
        return self._adapted(layer(x), x, a, b, scaling, rate, None)

    @staticmethod
    def _adapted(
        base: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float, rate: float, share: TensorShare | None
    ) -> Tensor:
        if rate == 0 and not torch.is_grad_enabled() and a.dtype == base.dtype == x.dtype and not _casts(x.device.type):
            base.view(-1, base.shape[-1]).addmm_(x.flatten(0, -2) @ a.t(), b.t(), alpha=scaling)  # nobody else reads it
            return base
        out: Tensor = _Adapter.apply(base, x, a, b, scaling, rate, share)
        return out


def quicken(network: Any) -> None:
    """Let every plain adapter in a network of peft run as ``LoraLinear``."""
    for module in network.modules():
        if type(module) is Linear and not module.lora_variant and not any(module.lora_bias.values()):
            module.__class__ = LoraLinear


def kept_inputs(x: Tensor, rate: float, share: TensorShare | None = None) -> Tensor:
    """Which inputs dropout keeps, in the shape of ``x``, each with probability ``1 - rate``; see ``masked``.

    Args:
        x: Float ``[..., D]``.
        rate: Share of the inputs to drop.
        share: Where ``x`` is a share of a layer's inputs: which. Every rank draws for all of them, so that its
            generator goes on as that of one process, and keeps what concerns its own.

    Returns:
        Bool, ``True`` for a kept input. On a CPU, where drawing a number for each input took a fifth of a training
        step, four are decided by one random number, with ``rate`` rounded to a multiple of 2^-15: int16, all bits set
        for a kept input, none for another one.
    """
    if share is not None:
        whole = x.new_empty(1).expand(*x.shape[:-1], share.size * x.shape[-1])
        return kept_inputs(whole, rate)[..., share.of(whole.shape[-1])].contiguous()
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - rate)
    # torch's own generator takes twice as long; it gives the seed, so that its state is that of the run
    draws = np.random.PCG64(int(torch.randint(2**62, ())))
    numbers = torch.from_numpy(draws.random_raw(-(-x.numel() // 4)).view(np.int64))
    drawn = numbers.view(torch.int16)[: x.numel()].view(x.shape).bitwise_and_(2**15 - 1)
    return drawn.neg_().add_(_dropped(rate) - 1).bitwise_right_shift_(15)  # the sign of a difference in all bits


def masked(x: Tensor, keep: Tensor | None) -> Tensor:
    """``x`` with zeros where ``keep``, a result of ``kept_inputs``, has none; all of it without one."""
    if keep is None:
        return x
    if keep.dtype == torch.bool:
        return x * keep
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return (x.view(bits) & keep.to(bits)).view(x.dtype)


def _dropped(rate: float) -> int:
    """Of 2^15 equally likely numbers, how many stand for a dropped input."""
    return round(rate * 2**15)


def _casts(device: str) -> bool:
    """Whether autocast is on; tensors without values (meta) have none."""
    return device != "meta" and torch.is_autocast_enabled(device)


def _plain(device: str) -> AbstractContextManager[Any]:
    return torch.autocast(device, enabled=False) if _casts(device) else nullcontext()


class _Adapter(torch.autograd.Function):
    """An adapter as one function; see above."""

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        scaling: float,
        rate: float,
        share: TensorShare | None,
    ) -> Tensor:
        device = x.device.type
        # what autocast would compute in, or else the adapter's own type, as peft does
        dtype = torch.get_autocast_dtype(device) if _casts(device) else a.dtype
        keep = kept_inputs(x, rate, share) if rate > 0 else None
        factor = scaling if keep is None else scaling / (1 - (_dropped(rate) / 2**15 if device == "cpu" else rate))
        with _plain(device):
            x_ND = masked(x.to(dtype), keep).flatten(0, -2)
            inner_NR = x_ND @ a.to(dtype).t()
            base_NO = base.flatten(0, -2)
            if base.dtype == dtype:
                out = torch.addmm(base_NO, inner_NR, b.to(dtype).t(), alpha=factor)
            else:
                out = (base_NO + factor * (inner_NR @ b.to(dtype).t())).to(base.dtype)
        ctx.save_for_backward(x, keep, inner_NR, a, b)
        ctx.factor = factor
        return out.view_as(base)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, keep, inner_NR, a, b = ctx.saved_tensors
        dtype = inner_NR.dtype
        grad_NO = grads[0].flatten(0, -2).to(dtype)
        with _plain(x.device.type):
            inner_grad_NR = (grad_NO @ b.to(dtype)).mul_(ctx.factor)
            x_grad = None
            if ctx.needs_input_grad[1]:
                x_grad = masked((inner_grad_NR @ a.to(dtype)).view_as(x), keep).to(x.dtype)
            a_grad = (inner_grad_NR.t() @ masked(x.to(dtype), keep).flatten(0, -2)).to(a.dtype)
            b_grad = (grad_NO.t() @ inner_NR).mul_(ctx.factor).to(b.dtype)
        return grads[0], x_grad, a_grad, b_grad, None, None, None
