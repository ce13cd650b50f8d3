"""The contract of a language-model head: embeddings in, loss or answers out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from affectgpt.part import Part
from affectgpt.prompts.template import AnswerEnd


@dataclass(frozen=True)
class LLMOutput:
    """What one pass over embeddings gives.

    Attributes:
        loss: Mean cross-entropy over the supervised tokens of the batch, or ``None`` without labels.
        logits: Float ``[B, L, V]``, where V is the vocabulary; ``None`` with labels, since a loss needs few of them.
    """

    loss: Tensor | None
    logits: Tensor | None


class LLMHead(Part):
    """A causal language model that reads embeddings.

    Attributes:
        hidden_dim: Width E of the embeddings.
        tokenizer: A Hugging Face tokenizer; ``pad_token_id``, ``eos_token_id`` are set, ``bos_token_id`` may be None.
    """

    hidden_dim: int
    tokenizer: Any

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Look embeddings up: int64 ``[B, L]`` to ``[B, L, E]``."""

    @abstractmethod
    def forward(self, embeds: Tensor, keep: Tensor, labels: Tensor | None = None) -> LLMOutput:
        """Run the model over embeddings.

        Args:
            embeds: Float ``[B, L, E]``.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            labels: int64 ``[B, L]``; -100 where nothing is to be learnt.
        """

    @abstractmethod
    def generate(self, embeds: Tensor, keep: Tensor, max_new_tokens: int, stop: AnswerEnd | None = None) -> list[str]:
        """Write answers, greedily, for a batch with a key-value cache.

        Args:
            embeds: Float ``[B, L, E]``, padded on the left.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            max_new_tokens: Longest answer, in tokens.
            stop: What ends an answer, besides the end-of-sequence token.

        Returns:
            One text a sample.
        """
