"""The fusion contracts: pooling of one stream, and pre-fusion of several, in front of the LLM."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError
from affectgpt.part import Part
from affectgpt.types import Features


class Pooling(Part):
    """Turns the feature vectors of one stream into a fixed number of tokens.

    Attributes:
        in_dim: Width of the feature vectors.
        out_dim: Width of the tokens; that of the input unless a subclass sets it.
        num_tokens: Number of tokens, K.
    """

    def __init__(self, in_dim: int, num_tokens: int = 1) -> None:
        super().__init__()
        _check_sizes(type(self).__name__, in_dim=in_dim, num_tokens=num_tokens)
        self.in_dim = in_dim
        self.out_dim = in_dim
        self.num_tokens = num_tokens

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Pool one stream.

        Args:
            features: ``hidden`` ``[B, T, in_dim]``; ``keep`` ``[B, T]`` where ``True`` is a real step. Steps that are
                not kept do not count.

        Returns:
            Tokens ``[B, num_tokens, out_dim]``; zeros for a sample without real steps.

        Raises:
            DataError: If the features are not ``in_dim`` wide.
        """

    def real_steps(self, features: Features) -> Tensor:
        """The feature vectors, zero where not kept, ``[B, T, in_dim]``.

        Raises:
            DataError: If the features are not ``in_dim`` wide.
        """
        return _real_steps(features, self.in_dim, self, "the stream")


class PreFusion(Part):
    """Joins several streams into common tokens in front of the LLM.

    Attributes:
        in_dims: Width of each stream's feature vectors, in the streams' order.
        out_dim: Width of the tokens.
        num_tokens: Number of tokens, K; may be 0.
        any_subset: Whether the tokens are shown as soon as a sample has one of the streams. ``False``, as published: a
            prompt shows them only where the sample has all streams.
    """

    any_subset: bool = False

    def __init__(self, in_dims: Sequence[int], num_tokens: int = 1, any_subset: bool = False) -> None:
        super().__init__()
        _check_sizes(type(self).__name__, **{f"in_dims[{i}]": dim for i, dim in enumerate(in_dims)})
        self.in_dims = tuple(in_dims)
        self.out_dim = max(self.in_dims, default=0)
        self.num_tokens = num_tokens
        self.any_subset = any_subset

    @abstractmethod
    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Fuse the streams.

        Args:
            streams: One ``Features`` per stream, in the order of ``in_dims``; the lengths T may differ. A sample
                without real steps in a stream lacks it, and what the others say must not depend on that stream.

        Returns:
            Tokens ``[B, num_tokens, out_dim]``.

        Raises:
            DataError: If the number of streams or the width of one differs from ``in_dims``.
        """

    def real_steps(self, streams: Sequence[Features]) -> list[Tensor]:
        """Each stream's feature vectors, zero where not kept, ``[B, T, in_dims[i]]``.

        Raises:
            DataError: If the number of streams or the width of one differs from ``in_dims``.
        """
        if len(streams) != len(self.in_dims):
            raise DataError(f"{type(self).__name__} was built for {len(self.in_dims)} streams, but got {len(streams)}")
        return [
            _real_steps(stream, dim, self, f"stream {index}")
            for index, (stream, dim) in enumerate(zip(streams, self.in_dims, strict=True))
        ]

    def needs_streams(self) -> None:
        """Refuse to be built without streams or tokens.

        Raises:
            ConfigError: If there are none.
        """
        if not self.in_dims:
            raise ConfigError(
                f"{type(self).__name__} needs at least one stream; use 'none' for a model without pre-fusion"
            )
        if self.num_tokens < 1:
            raise ConfigError(f"{type(self).__name__}: num_tokens must be at least 1, but is {self.num_tokens}")


def masked_mean(steps: Tensor, keep: Tensor) -> Tensor:
    """Mean over the real steps, ``sum_t keep_t x_t / sum_t keep_t``; zeros if there are none.

    Args:
        steps: ``[B, T, D]``, zero where not kept.
        keep: Bool ``[B, T]``; ``True`` is a real step.

    Returns:
        ``[B, D]``.
    """
    return steps.sum(1) / keep.sum(1, keepdim=True).clamp(min=1).to(steps.dtype)


def masked_softmax(scores: Tensor, keep: Tensor) -> Tensor:
    """Softmax over the real entries of the last dimension; zeros if there are none.

    Args:
        scores: ``[..., T]``.
        keep: Bool ``[..., T]``; ``True`` is a real entry.

    Returns:
        Weights ``[..., T]`` that sum to 1 over the real entries.
    """
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~keep, lowest).softmax(-1) * keep


def _real_steps(features: Features, dim: int, part: Part, name: str) -> Tensor:
    if features.hidden.ndim != 3 or features.hidden.shape[-1] != dim:
        raise DataError(
            f"{type(part).__name__} takes {name} as [batch, time, {dim}], but got {tuple(features.hidden.shape)}; "
            "the encoder's out_dim and the fusion's in_dim must agree"
        )
    # A frozen encoder may run in half precision while the fusion is trained in single.
    dtype = next((weight.dtype for weight in part.parameters()), features.hidden.dtype)
    return features.hidden.to(dtype).masked_fill(~features.keep[..., None], 0.0)


def _check_sizes(owner: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{owner}: {name} must be at least 1, but is {size}")
