"""The fusion contracts: pooling of one stream, and pre-fusion of several, in front of the LLM."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from affectgpt.part import Part
from affectgpt.types import Features


class Pooling(Part):
    """Turns the feature vectors of one stream into a fixed number of tokens.

    Attributes:
        in_dim: Width of the feature vectors.
        out_dim: Width of the tokens; the input's unless a subclass says otherwise.
        num_tokens: Tokens that come out, K.
    """

    def __init__(self, in_dim: int, num_tokens: int = 1) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = in_dim
        self.num_tokens = num_tokens

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Pool one stream.

        Args:
            features: ``hidden`` ``[B, T, in_dim]``; ``keep`` ``[B, T]`` where ``True`` is a real step. Steps that are
                not kept have no influence.

        Returns:
            Tokens ``[B, num_tokens, out_dim]``.
        """


class PreFusion(Part):
    """Joins several streams into common tokens before the LLM sees any of them.

    Attributes:
        in_dims: Width of each stream's feature vectors, in the streams' order.
        out_dim: Width of the tokens.
        num_tokens: Tokens that come out, K; 0 for none.
    """

    def __init__(self, in_dims: Sequence[int], num_tokens: int = 1) -> None:
        super().__init__()
        self.in_dims = tuple(in_dims)
        self.out_dim = max(self.in_dims, default=0)
        self.num_tokens = num_tokens

    @abstractmethod
    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Fuse the streams.

        Args:
            streams: One ``Features`` a stream, in the order of ``in_dims``; the lengths T may differ.

        Returns:
            Tokens ``[B, num_tokens, out_dim]``.
        """
