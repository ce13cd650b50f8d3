"""Linear layers of which each rank of a group holds a share (tensor parallelism), as plain tensors.

After Megatron-LM (arXiv 1909.08053, section 3): a layer that is split by outputs reads whole inputs and gives its
rank's outputs; a layer that is split by inputs reads those, and the ranks' products are summed. In between, heads and
feed-forward units are computed by one rank each.

    by outputs    y_r = x W_r^T + b_r       backward: the ranks' gradients of x are summed
    by inputs     y = sum_r x_r W_r^T + b   backward: every rank has the gradient of y already

The matrices of an adapter stay whole on every rank. Of ``c s (x A^T) B^T`` a layer that is split by outputs takes its
rows of B, one that is split by inputs its columns of A, and the sum over the ranks takes base and adapter together. So
of the gradient of an adapter, every rank has a share; of every other gradient, all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True)
class TensorShare:
    """Which share of a split layer this rank holds.

    Attributes:
        rank: Number of the rank within its group.
        size: Number of ranks of the group.
        group: The process group.
    """

    rank: int
    size: int
    group: Any = None

    def of(self, total: int) -> slice:
        """This rank's share of ``total`` outputs or inputs.

        Examples:
            >>> TensorShare(1, 4).of(12)
            slice(3, 6, None)
        """
        each = total // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def agreed(self, values: Tensor) -> Tensor:
        """What the first rank has, on every rank of the group: no rank goes another way because of rounding."""
        values = values.contiguous()
        torch.distributed.broadcast(values, group_src=0, group=self.group)
        return values

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorShare:
        return self  # a process group cannot be copied, and a copy of a model belongs to the same ranks


class SharedInput:
    """The whole input of layers that read the same: the ranks' gradients of it are summed once for all of them.

    Args:
        share: The group.
        readers: Number of layers that read it.
    """

    def __init__(self, share: TensorShare, readers: int) -> None:
        self.share = share
        self.readers = readers
        self._given: Tensor | None = None
        self._made: Tensor | None = None
        self._left = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The input, float ``[..., D]``."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return x
        if self._given is not x:
            self._given, self._made, self._left = x, _Whole.apply(x, self.share.group), self.readers
        made, self._left = self._made, self._left - 1
        assert made is not None
        if not self._left:  # else every layer would keep its input alive
            self._given = self._made = None
        return made


class SplitLinear(nn.Linear):
    """A linear layer of which this rank has a share; ``split`` makes one of a whole layer.

    Attributes:
        share: Which.
        shared_input: Of a layer that is split by outputs; ``None`` for one that is split by inputs.
    """

    share: TensorShare
    shared_input: SharedInput | None

    @property
    def input_share(self) -> TensorShare | None:
        """Which share of the inputs it reads; ``None`` for all of them."""
        return self.share if self.shared_input is None else None

    def forward(self, x: Tensor) -> Tensor:
        """``[..., D]`` to this rank's outputs, or this rank's inputs to ``[..., O]``."""
        return self.leave(self.product(self.enter(x)))

    def enter(self, x: Tensor) -> Tensor:
        """The input, from which gradients go back to every rank."""
        return x if self.shared_input is None else self.shared_input(x)

    def product(self, x: Tensor) -> Tensor:
        """What this rank computes by itself."""
        return F.linear(x, self.weight, None if self.shared_input is None else self.bias)

    def leave(self, y: Tensor) -> Tensor:
        """The output, of what the ranks have computed."""
        if self.shared_input is not None:
            return y
        whole: Tensor = _Summed.apply(y, self.share.group)
        return whole if self.bias is None else whole + self.bias.to(whole.dtype)

    def adapter(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """What this rank takes of the whole matrices of an adapter, ``[R, D]`` and ``[O, R]``.

        Whoever averages gradients over all ranks averages these shares too, so each counts as many times as there are
        shares.
        """
        if torch.is_grad_enabled():
            a, b = (_Counted.apply(whole, self.share.size) for whole in (a, b))
        if self.shared_input is None:
            return a[:, self.share.of(a.shape[1])], b
        return a, b[self.share.of(len(b))]


def split(layer: nn.Linear, share: TensorShare, shared_input: SharedInput | None) -> dict[str, tuple[slice, ...]]:
    """Make a layer a ``SplitLinear``, in place.

    Args:
        layer: A frozen layer; its weights may be on the meta device.
        share: What this rank keeps.
        shared_input: See ``SplitLinear``.

    Returns:
        Of its weight and its bias, where they are cut: what this rank keeps.
    """
    by_outputs = shared_input is not None
    wanted = share.of(layer.out_features if by_outputs else layer.in_features)
    cut: dict[str, tuple[slice, ...]] = {"weight": (wanted,) if by_outputs else (slice(None), wanted)}
    if by_outputs and layer.bias is not None:
        cut["bias"] = (wanted,)
    for name, where in cut.items():
        own = getattr(layer, name).detach()[where].clone()
        setattr(layer, name, nn.Parameter(own, requires_grad=False))
    if by_outputs:
        layer.out_features //= share.size
    else:
        layer.in_features //= share.size
    layer.__class__ = SplitLinear
    assert isinstance(layer, SplitLinear)
    layer.share, layer.shared_input = share, shared_input
    return cut


class AgreedScores:
    """A logits processor of transformers: every rank of a group chooses by the scores of the first.

    Args:
        share: The group.
    """

    def __init__(self, share: TensorShare) -> None:
        self.share = share

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores of the next token, ``[B, V]``."""
        return self.share.agreed(scores)


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _sum(grads[0], ctx.group), None


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, group: Any) -> Tensor:
        return _sum(y, group)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


class _Counted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, times: int) -> Tensor:
        ctx.times = times
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.times, None


def _sum(values: Tensor, group: Any) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total, group=group)
    return total
