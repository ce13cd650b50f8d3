"""The gated pre-fusion: every width of the common token chooses among the streams that are there.

``B`` batch, ``S`` streams, ``D`` width of the widest stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectgpt.fusion.base import PreFusion, masked_mean, masked_softmax
from affectgpt.types import Features


class GatedPreFusion(PreFusion):
    """The gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992), for any number and any subset of streams.

    With m_i the mean over time of stream i, zero if the sample lacks it:

        h_i   = tanh(V_i m_i)
        z     = softmax over the streams that are there of W [m_1; ...; m_S], one distribution for each width
        token = sum_i z_i * h_i

    Two streams give the published unit, whose gate is a sigmoid: the softmax of two scores is the sigmoid of their
    difference. A stream that is alone has gates of 1, so the token keeps its size whatever is missing.

    Args:
        in_dims: Width of each stream's feature vectors.
        num_tokens: Number of tokens; all are equal.
        any_subset: See ``PreFusion``.
    """

    def __init__(self, in_dims: Sequence[int], num_tokens: int = 1, any_subset: bool = True) -> None:
        super().__init__(in_dims, num_tokens, any_subset)
        self.needs_streams()
        self.embeds = nn.ModuleList(nn.Linear(dim, self.out_dim) for dim in self.in_dims)
        self.gate = nn.Linear(sum(self.in_dims), len(self.in_dims) * self.out_dim)

    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Let the gates choose; see ``PreFusion.forward``."""
        steps = self.real_steps(streams)
        means = [masked_mean(step, stream.keep) for step, stream in zip(steps, streams, strict=True)]
        hidden_BDS = torch.stack([embed(mean).tanh() for embed, mean in zip(self.embeds, means, strict=True)], dim=-1)
        present_BS = torch.stack([stream.keep.any(1) for stream in streams], dim=1)
        scores_BDS = self.gate(torch.cat(means, dim=1)).unflatten(1, (self.out_dim, len(means)))
        gates_BDS = masked_softmax(scores_BDS, present_BS[:, None].expand_as(scores_BDS))
        fused_BD = (gates_BDS * hidden_BDS).sum(-1)
        return fused_BD[:, None].expand(-1, self.num_tokens, -1)
