"""Projectors: map the tokens of a slot to the width of the LLM."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

from torch import Tensor, nn

from affectgpt.part import Part


class Projector(Part):
    """Maps tokens to the width of the LLM's embeddings.

    Attributes:
        in_dim: Width of the tokens.
        out_dim: Width of the LLM's embeddings.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = out_dim

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Project tokens: float ``[B, K, in_dim]`` of any precision to ``[B, K, out_dim]`` in that of the weights."""


class LinearProjector(Projector):
    """One linear layer, or two with a GELU between.

    Args:
        in_dim: Width of the tokens.
        out_dim: Width of the LLM's embeddings.
        hidden_dim: Width between two layers, or ``None`` for the single linear layer of the published model.
    """

    def __init__(self, in_dim: int, out_dim: int, hidden_dim: int | None = None) -> None:
        super().__init__(in_dim, out_dim)
        self.layers: nn.Module = nn.Linear(in_dim, out_dim)
        if hidden_dim is not None:
            self.layers = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, out_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Project tokens; see ``Projector.forward``."""
        dtype = next(self.layers.parameters()).dtype
        return cast(Tensor, self.layers(tokens.to(dtype)))
