"""The cross-attention pre-fusion: every stream reads the others, step by step.

``B`` batch, ``T`` steps of the reading stream, ``U`` of the read one, ``H`` width, ``A`` attention heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import ConfigError
from affectgpt.fusion.base import PreFusion, masked_mean
from affectgpt.types import Features


class CrossAttentionPreFusion(PreFusion):
    """Crossmodal attention of the Multimodal Transformer (MulT, Tsai et al. 2019, arXiv 1906.00295), for any subset.

    Every stream, projected to a common width and given sinusoidal positions, reads every stream that the sample has,
    each through blocks of its own: attention whose queries are the steps of the reader and whose keys and values are
    those of the read one, and a feed-forward network. MulT concatenates what a stream read of the others; here the mean
    over the streams that are there is taken, then over the steps, then over the readers, so that a token has the same
    size for every subset. A stream also reads itself, which is what is left to it when it is alone.

    Args:
        in_dims: Width of each stream's feature vectors.
        num_tokens: Number of tokens; all are equal.
        hidden_dim: Width of the tokens.
        num_layers: Blocks for each pair of streams.
        num_heads: Attention heads; divides ``hidden_dim``.
        dropout: Dropout of attention and feed-forward network in training.
        any_subset: See ``PreFusion``.

    Raises:
        ConfigError: If ``num_heads`` does not divide an even ``hidden_dim``, or there are no layers.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_tokens: int = 1,
        hidden_dim: int = 256,
        num_layers: int = 1,
        num_heads: int = 4,
        dropout: float = 0.1,
        any_subset: bool = True,
    ) -> None:
        super().__init__(in_dims, num_tokens, any_subset)
        self.needs_streams()
        if num_heads < 1 or hidden_dim % num_heads or hidden_dim % 2 or num_layers < 1:
            raise ConfigError(
                f"cross-attention: hidden_dim {hidden_dim}, num_heads {num_heads}, num_layers {num_layers}; give an "
                "even width, a number of heads that divides it, and at least one layer"
            )
        self.out_dim = hidden_dim
        self.embeds = nn.ModuleList(nn.Linear(dim, hidden_dim) for dim in self.in_dims)
        count = len(self.in_dims)
        self.blocks = nn.ModuleList(
            nn.ModuleList(ReadingBlock(hidden_dim, num_heads, dropout) for _ in range(num_layers))
            for _ in range(count * count)
        )

    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Let the streams read each other; see ``PreFusion.forward``."""
        keeps = [stream.keep for stream in streams]
        present_BS = torch.stack([keep.any(1) for keep in keeps], dim=1)
        steps = [
            embed(step) + _positions(keep, self.out_dim, step.dtype)
            for embed, step, keep in zip(self.embeds, self.real_steps(streams), keeps, strict=True)
        ]
        fused_BH = torch.zeros_like(steps[0][:, 0])
        for reader, own_BTH in enumerate(steps):
            gained_BTH = torch.zeros_like(own_BTH)
            for read, other_BUH in enumerate(steps):
                found_BTH = own_BTH
                pair = self.blocks[reader * len(steps) + read]
                assert isinstance(pair, nn.ModuleList)
                for block in pair:
                    found_BTH = block(found_BTH, other_BUH, keeps[read])
                gained_BTH = gained_BTH + found_BTH * present_BS[:, read, None, None]
            own_BH = masked_mean(gained_BTH.masked_fill(~keeps[reader][..., None], 0.0), keeps[reader])
            fused_BH = fused_BH + own_BH * present_BS[:, reader, None]
        # the mean over the readers of the mean over what each of them read
        fused_BH = fused_BH / present_BS.sum(1, keepdim=True).clamp(min=1).square().to(fused_BH.dtype)
        return fused_BH[:, None].expand(-1, self.num_tokens, -1)


class ReadingBlock(nn.Module):
    """One stream reads another: attention and a feed-forward network, each after a normalisation and with a residual.

    Args:
        dim: Width, H.
        num_heads: Attention heads.
        dropout: Dropout in training.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm, self.norm_read, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.feedforward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, own: Tensor, other: Tensor, keep: Tensor) -> Tensor:
        """Read another stream.

        Args:
            own: Float ``[B, T, H]``, the reader.
            other: Float ``[B, U, H]``, what it reads.
            keep: Bool ``[B, U]``; ``True`` is a real step of ``other``. A row without any reads padding; leave what it
                gives out.

        Returns:
            ``[B, T, H]``.
        """
        query = self._heads(self.query(self.norm(own)))
        key, value = map(self._heads, self.key_value(self.norm_read(other)).chunk(2, dim=-1))
        mask = keep | ~keep.any(1, keepdim=True)  # attention to nothing at all would be NaN
        dropout = self.dropout if self.training else 0.0
        read_BATH = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None], dropout_p=dropout)
        own = own + F.dropout(self.out(read_BATH.transpose(1, 2).flatten(2)), self.dropout, self.training)
        out: Tensor = own + F.dropout(self.feedforward(self.norm_out(own)), self.dropout, self.training)
        return out

    def _heads(self, steps: Tensor) -> Tensor:
        """``[B, T, H]`` to ``[B, A, T, H / A]``."""
        found: Tensor = steps.unflatten(-1, (self.num_heads, -1))
        return found.transpose(1, 2)


def _positions(keep: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """Sinusoidal positions ``[B, T, H]`` of the real steps; they are counted in each row, so padding shifts nothing."""
    at_BT = (keep.cumsum(1) - 1).clamp(min=0)
    rates = torch.exp(torch.arange(0, dim, 2, device=keep.device) * (-math.log(10_000.0) / dim))
    angles = at_BT[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype)
