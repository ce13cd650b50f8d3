"""What one pass of the network gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from affectgpt.llm.written_answers import WrittenAnswers
from affectgpt.types import Features


class Output(NamedTuple):
    """What one pass of the model returns; a tuple, so that FSDP finds the tensors in it.

    Attributes:
        sample_losses: float32 ``[B]``, the cross-entropy of each sample's answer, summed over its tokens; ``None``
            without answers.
        sample_tokens: int64 ``[B]``, the number of tokens in each of these sums.
        logits: Float ``[B, L, V]`` if neither a loss nor an answer was asked for, else ``None``.
        used: For each sample, the slots that were filled.
        is_cut: For each sample, whether its subtitle was shortened to fit.
        num_positions: Positions of the prompts and answers that were learnt from, one sample a row: rows times the
            longest.
        num_padding: Those of them that are padding; packed samples are laid out without it.
        token_losses: float32 ``[B, L]``, the terms of ``sample_losses``.
        learnt: Bool ``[B, L]``; ``True`` where ``token_losses`` has the loss of a token of an answer.

            Where answers came as tokens, a row of all four is one answer and not one sample: N rows, all answers to the
            first sample first, and their tokens alone, ``[N, A]``.
        written: The written answers with their tokens.
        features: What the encoders gave, where answers were written: stream name to ``[B, T, D]``.
    """

    sample_losses: Tensor | None
    sample_tokens: Tensor | None
    logits: Tensor | None
    used: tuple[tuple[str, ...], ...]
    is_cut: tuple[bool, ...]
    num_positions: int = 0
    num_padding: int = 0
    token_losses: Tensor | None = None
    learnt: Tensor | None = None
    written: WrittenAnswers | None = None
    features: Mapping[str, Features] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the written answers; empty when none were asked for."""
        return () if self.written is None else self.written.texts

    @property
    def loss(self) -> Tensor | None:
        """Mean cross-entropy over the answers' tokens in the batch, or ``None`` without answers."""
        if self.sample_losses is None or self.sample_tokens is None:
            return None
        return self.sample_losses.sum() / self.sample_tokens.sum().clamp(min=1)
