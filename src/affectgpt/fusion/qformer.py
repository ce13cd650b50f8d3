"""The Q-Former: learned queries that read a stream through cross-attention.

``B`` batch, ``T`` steps of the stream, ``D`` its width, ``Q`` queries, ``H`` width of the queries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from affectgpt.errors import ConfigError, DataError


class QFormer(nn.Module):
    """Learned queries over a stream with learned positions (BLIP-2, Li et al. 2023, arXiv 2301.12597).

    Every layer has self-attention among the queries, cross-attention to the stream, and a feed-forward network with the
    exact GELU; positions are added to the stream, not to the queries. Positions count the real steps of each row, so
    neither padding nor what is missing before a step shifts it. The network is transformers' ``Blip2QFormerModel``,
    with random initial weights.

    Args:
        in_dim: Width of the stream.
        num_queries: Number of queries and of tokens.
        hidden_dim: Width of the queries.
        num_layers: Layers, each with cross-attention.
        num_heads: Attention heads; divides ``hidden_dim``.
        max_steps: Size of the position table: the longest stream that can be read.
        dropout: Dropout of attention and hidden states in training.
        feedforward_dim: Width inside the feed-forward networks; four times ``hidden_dim`` by default.
    """

    def __init__(
        self,
        in_dim: int,
        num_queries: int,
        hidden_dim: int = 768,
        num_layers: int = 2,
        num_heads: int = 12,
        max_steps: int = 32,
        dropout: float = 0.1,
        feedforward_dim: int | None = None,
    ) -> None:
        super().__init__()
        from transformers import Blip2QFormerConfig, Blip2QFormerModel

        if num_heads < 1 or hidden_dim % num_heads:
            raise ConfigError(
                f"Q-Former: hidden_dim {hidden_dim} is not a multiple of num_heads {num_heads}; "
                "choose a number of heads that divides the width"
            )
        config = Blip2QFormerConfig(
            hidden_size=hidden_dim,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            intermediate_size=feedforward_dim or 4 * hidden_dim,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            encoder_hidden_size=in_dim,
            cross_attention_frequency=1,
        )
        self.max_steps = max_steps
        self.query_tokens = nn.Parameter(torch.empty(1, num_queries, hidden_dim).normal_(std=config.initializer_range))
        self.position_embedding = nn.Embedding(max_steps, in_dim)
        self.network = Blip2QFormerModel(config)

    def forward(self, steps: Tensor, keep: Tensor) -> Tensor:
        """Let the queries read a stream.

        Args:
            steps: ``[B, T, in_dim]``, zero where not kept.
            keep: Bool ``[B, T]``; ``True`` is a real step, the others have no influence.

        Returns:
            Tokens ``[B, num_queries, hidden_dim]``; zeros for a sample without real steps.

        Raises:
            DataError: If the stream has more steps than the position table.
        """
        num_steps = steps.shape[1]
        if num_steps > self.max_steps:
            raise DataError(
                f"Q-Former: the stream has {num_steps} steps, but the position table ends at {self.max_steps}; "
                "sample fewer frames or segments, or build it with a larger max_steps"
            )
        at_BT = (keep.cumsum(1) - 1).clamp(min=0)
        steps_BTD = steps + self.position_embedding(at_BT).to(steps.dtype)
        heard_B = keep.any(1)
        # A row without real steps would divide by zero in the attention: it attends to padding, and is zeroed
        # afterwards.
        read = self.network(
            query_embeds=self.query_tokens.expand(len(steps), -1, -1),
            encoder_hidden_states=steps_BTD,
            encoder_attention_mask=(keep | ~heard_B[:, None]).long(),
        )
        tokens_BQH: Tensor = read.last_hidden_state
        return tokens_BQH * heard_B[:, None, None]
