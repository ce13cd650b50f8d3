"""Pre-fusions: several streams become common tokens in front of the LLM.

``B`` batch, ``T`` steps of a stream, ``S`` streams, ``D`` width of the widest stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectgpt.errors import DataError
from affectgpt.fusion.base import PreFusion, masked_mean, masked_softmax
from affectgpt.fusion.qformer import QFormer
from affectgpt.types import Features


class NoPreFusion(PreFusion):
    """No common tokens: only the LLM joins the streams.

    Args:
        in_dims: Width of each stream; may be empty.
    """

    def __init__(self, in_dims: Sequence[int] = ()) -> None:
        super().__init__(in_dims, num_tokens=0)

    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Return empty tokens ``[B, 0, out_dim]``.

        Raises:
            DataError: If there are no streams, or the streams do not fit ``in_dims``.
        """
        steps = self.real_steps(streams)
        if not steps:
            raise DataError("NoPreFusion: without streams the batch size is unknown; do not call it")
        return steps[0].new_zeros(len(steps[0]), 0, self.out_dim)


class AttentionPreFusion(PreFusion):
    """The published pre-fusion: a weight for each stream, and the weighted sum of the streams.

    With m_i the mean over time of stream i, projected to the widest stream's width, and ``[;]`` concatenation:

        weights = W2 (W1 [m_1; ...; m_S] + b1) + b2        one weight per stream
        token   = sum_i weights_i m_i

    As in the published model there is no activation between the two linear layers and **no** softmax over the weights.
    ``SoftmaxAttentionPreFusion`` is the normalised form. A stream without real steps adds nothing. Only the
    initialisation is ours: equal weights in place of random ones.

    Args:
        in_dims: Width of each stream's feature vectors; published order: video, audio.
        num_tokens: Number of tokens; all are equal.
        any_subset: See ``PreFusion``.
    """

    def __init__(self, in_dims: Sequence[int], num_tokens: int = 1, any_subset: bool = False) -> None:
        super().__init__(in_dims, num_tokens, any_subset)
        self.needs_streams()
        num_streams = len(self.in_dims)
        self.embeds = nn.ModuleList(nn.Linear(dim, self.out_dim) for dim in self.in_dims)
        self.mix = nn.Linear(num_streams * self.out_dim, self.out_dim)
        self.score = nn.Linear(self.out_dim, num_streams)
        # With random signs the streams would cancel each other; with equal weights the token starts as their mean.
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, 1 / num_streams)

    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Weight and add the streams; see ``PreFusion.forward``."""
        steps = self.real_steps(streams)
        present_BS = torch.stack([stream.keep.any(1) for stream in streams], dim=1)
        embedded_BSD = torch.stack(
            [
                embed(masked_mean(step, stream.keep))
                for embed, step, stream in zip(self.embeds, steps, streams, strict=True)
            ],
            dim=1,
        )
        embedded_BSD = embedded_BSD * present_BS[..., None]
        weights_BS = self.weights(self.score(self.mix(embedded_BSD.flatten(1))), present_BS)
        fused_BD = (weights_BS[..., None] * embedded_BSD).sum(1)
        return fused_BD[:, None].expand(-1, self.num_tokens, -1)

    def weights(self, scores: Tensor, present: Tensor) -> Tensor:
        """Weights ``[B, S]`` from scores; ``present`` ``[B, S]`` is ``True`` where the sample has the stream."""
        return scores * present


class SoftmaxAttentionPreFusion(AttentionPreFusion):
    """Attention over the streams with weights that sum to 1.

    Args:
        in_dims: Width of each stream's feature vectors.
        num_tokens: Number of tokens; all are equal.
        any_subset: See ``PreFusion``.
    """

    def weights(self, scores: Tensor, present: Tensor) -> Tensor:
        """Weights ``[B, S]`` that sum to 1 over the streams where ``present`` is ``True``."""
        return masked_softmax(scores, present)


class QFormerPreFusion(PreFusion):
    """Learned queries that read all streams, one after the other; see ``QFormer``.

    Each stream is projected to the widest stream's width; the streams are concatenated in time, with positions over the
    real steps of the whole sequence.

    Args:
        in_dims: Width of each stream's feature vectors; published order: video, audio.
        num_tokens: Number of queries and of tokens (published: 16).
        hidden_dim: Width of the tokens.
        num_layers: Layers, each with cross-attention.
        num_heads: Attention heads; divides ``hidden_dim``.
        max_steps: Largest total length of the streams.
        dropout: Dropout in training.
        feedforward_dim: Width inside the feed-forward networks; four times ``hidden_dim`` by default.
        any_subset: See ``PreFusion``.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_tokens: int = 16,
        hidden_dim: int = 768,
        num_layers: int = 2,
        num_heads: int = 12,
        max_steps: int = 264,
        dropout: float = 0.1,
        feedforward_dim: int | None = None,
        any_subset: bool = False,
    ) -> None:
        super().__init__(in_dims, num_tokens, any_subset)
        self.needs_streams()
        width = self.out_dim
        self.embeds = nn.ModuleList(nn.Linear(dim, width) for dim in self.in_dims)
        self.qformer = QFormer(
            width, num_tokens, hidden_dim, num_layers, num_heads, max_steps, dropout, feedforward_dim
        )
        self.out_dim = hidden_dim

    def forward(self, streams: Sequence[Features]) -> Tensor:
        """Read the real steps of all streams; see ``PreFusion.forward``.

        Raises:
            DataError: If the streams together are longer than ``max_steps``, or do not fit ``in_dims``.
        """
        steps_BTD = torch.cat(
            [embed(step) for embed, step in zip(self.embeds, self.real_steps(streams), strict=True)], dim=1
        )
        tokens: Tensor = self.qformer(steps_BTD, torch.cat([stream.keep for stream in streams], dim=1))
        return tokens
