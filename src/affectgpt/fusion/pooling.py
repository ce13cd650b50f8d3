"""Poolings: the feature vectors of one stream become a fixed number of tokens.

``B`` batch, ``T`` steps of the stream, ``D`` width of the vectors.
"""

from __future__ import annotations

from torch import Tensor, nn

from affectgpt.fusion.base import Pooling, masked_mean, masked_softmax
from affectgpt.fusion.qformer import QFormer
from affectgpt.types import Features


class MeanPooling(Pooling):
    """The mean over time, repeated ``num_tokens`` times.

    Args:
        in_dim: Width of the feature vectors.
        num_tokens: Number of tokens; all are equal.
    """

    def forward(self, features: Features) -> Tensor:
        """Average the real steps; see ``Pooling.forward``."""
        pooled_BD = masked_mean(self.real_steps(features), features.keep)
        return pooled_BD[:, None].expand(-1, self.num_tokens, -1)


class AttentionPooling(Pooling):
    """The published attention fusion: the weighted sum of the steps x_t over time, ``sum_t (w . x_t + b) x_t``.

    The weight of a step is a linear function of its vector. As in the published model the weights are **not**
    normalised: there is no softmax and no activation, so the sum grows with the number of steps.
    ``SoftmaxAttentionPooling`` is the normalised form. Only the initialisation is ours: equal weights, because random
    ones train several times slower.

    Args:
        in_dim: Width of the feature vectors.
        num_tokens: Number of tokens; all are equal.
    """

    def __init__(self, in_dim: int, num_tokens: int = 1) -> None:
        super().__init__(in_dim, num_tokens)
        self.score = nn.Linear(in_dim, 1)
        # With random signs the steps would cancel each other; with equal weights of 1/8 the sum of eight steps starts
        # as their mean.
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, 1 / 8)

    def forward(self, features: Features) -> Tensor:
        """Weight and add the real steps; see ``Pooling.forward``."""
        steps_BTD = self.real_steps(features)
        weights_BT = self.weights(self.score(steps_BTD).squeeze(-1), features.keep)
        pooled_BD = (weights_BT[..., None] * steps_BTD).sum(1)
        return pooled_BD[:, None].expand(-1, self.num_tokens, -1)

    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        """Weights ``[B, T]`` from scores ``[B, T]``; ``keep`` ``[B, T]`` is ``True`` for real steps."""
        return scores * keep


class SoftmaxAttentionPooling(AttentionPooling):
    """Attention over time with weights that sum to 1.

    Args:
        in_dim: Width of the feature vectors.
        num_tokens: Number of tokens; all are equal.
    """

    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        """Weights ``[B, T]`` that sum to 1 over the real steps, where ``keep`` ``[B, T]`` is ``True``."""
        return masked_softmax(scores, keep)


class QFormerPooling(Pooling):
    """Learned queries that read the stream; see ``QFormer``.

    Args:
        in_dim: Width of the feature vectors.
        num_tokens: Number of queries and of tokens (published: 32 for frames, 8 for audio).
        hidden_dim: Width of the tokens.
        num_layers: Layers, each with cross-attention.
        num_heads: Attention heads; divides ``hidden_dim``.
        max_steps: The longest stream that can be read (published: 32 frames, 8 audio segments).
        dropout: Dropout in training.
        feedforward_dim: Width inside the feed-forward networks; four times ``hidden_dim`` by default.
    """

    def __init__(
        self,
        in_dim: int,
        num_tokens: int = 32,
        hidden_dim: int = 768,
        num_layers: int = 2,
        num_heads: int = 12,
        max_steps: int = 32,
        dropout: float = 0.1,
        feedforward_dim: int | None = None,
    ) -> None:
        super().__init__(in_dim, num_tokens)
        self.qformer = QFormer(
            in_dim, num_tokens, hidden_dim, num_layers, num_heads, max_steps, dropout, feedforward_dim
        )
        self.out_dim = hidden_dim

    def forward(self, features: Features) -> Tensor:
        """Read the real steps; see ``Pooling.forward``.

        Raises:
            DataError: If the stream is longer than ``max_steps``.
        """
        tokens: Tensor = self.qformer(self.real_steps(features), features.keep)
        return tokens
