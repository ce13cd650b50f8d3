"""The pre-fusion of experts: networks that know one stream each, mixed over the streams that are there.

``B`` batch, ``S`` streams and experts, ``D`` width of the widest stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectgpt.fusion.base import PreFusion, masked_mean, masked_softmax
from affectgpt.types import Features


class ExpertsPreFusion(PreFusion):
    """A soft mixture of one expert for each stream (after MoMKE: Xu, Jiang, Liang, ACM Multimedia 2024).

    With x_i the mean over time of stream i at the common width, and c the mean of the x_i that are there:

        w_i   = softmax(R [x_i; c])                   how much each expert says about stream i, its own among them
        y_i   = x_i + sum_e w_ie E_e(x_i)
        token = sum_i a_i y_i, a = softmax over the streams that are there of u . y_i

    A stream that is missing is neither read nor counted, but its expert still speaks about the others: what it learnt
    stays in use. MoMKE trains the experts alone first, which is a run with one view at a time here.

    Args:
        in_dims: Width of each stream's feature vectors; as many experts.
        num_tokens: Number of tokens; all are equal.
        hidden_dim: Width inside an expert; twice the widest stream by default.
        any_subset: See ``PreFusion``.
    """

    def __init__(
        self, in_dims: Sequence[int], num_tokens: int = 1, hidden_dim: int | None = None, any_subset: bool = True
    ) -> None:
        super().__init__(in_dims, num_tokens, any_subset)
        self.needs_streams()
        count, width, inner = len(self.in_dims), self.out_dim, hidden_dim or 2 * self.out_dim
        self.embeds = nn.ModuleList(nn.Linear(dim, width) for dim in self.in_dims)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
            for _ in range(count)
        )
        self.router = nn.Linear(2 * width, count)
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)  # equal weights at first, as in the other pre-fusions

    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Mix the experts; see ``PreFusion.forward``."""
        present_BS = torch.stack([stream.keep.any(1) for stream in streams], dim=1)
        embedded_BSD = torch.stack(
            [
                embed(masked_mean(step, stream.keep))
                for embed, step, stream in zip(self.embeds, self.real_steps(streams), streams, strict=True)
            ],
            dim=1,
        )
        embedded_BSD = embedded_BSD * present_BS[..., None]
        common_BSD = masked_mean(embedded_BSD, present_BS)[:, None].expand_as(embedded_BSD)
        routed_BSE = self.router(torch.cat([embedded_BSD, common_BSD], dim=-1)).softmax(-1)
        said_BSED = torch.stack([expert(embedded_BSD) for expert in self.experts], dim=2)
        mixed_BSD = embedded_BSD + (routed_BSE[..., None] * said_BSED).sum(2)
        weights_BS = masked_softmax(self.score(mixed_BSD).squeeze(-1), present_BS)
        fused_BD: Tensor = (weights_BS[..., None] * mixed_BSD).sum(1)
        return fused_BD[:, None].expand(-1, self.num_tokens, -1)
