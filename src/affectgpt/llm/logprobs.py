"""Log-probabilities of given tokens, computed piece by piece.

``B`` rows, ``L`` tokens a row, ``M`` learnt tokens, ``V`` vocabulary, ``E`` width of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from affectgpt.llm.packed_rows import hide_first_labels, number_runs
from affectgpt.prompts.render import IGNORE

CHUNK_BYTES = 64 * 2**20
"""Most memory that one piece's logits take, in float32."""


@dataclass(frozen=True)
class AnswerLogProbs:
    """Natural logarithms of the probability that a model gives to answers.

    Attributes:
        tokens: float32 ``[B, L]``: at position t, of the label there given all before it; 0 where the label is -100.
        learnt: Bool ``[B, L]``; ``True`` where the label is a token.
        sums: float32, one number a sample: ``[B]``, or for packed rows all samples in their order, rows first.
    """

    tokens: Tensor
    learnt: Tensor
    sums: Tensor

    @classmethod
    def of(cls, tokens: Tensor, labels: Tensor, keep: Tensor, sample_ids: Tensor | None = None) -> AnswerLogProbs:
        """Sum the tokens of every sample.

        Args:
            tokens: float32 ``[B, L]``, 0 where the label is -100.
            labels: int64 ``[B, L]``.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            sample_ids: int64 ``[B, L]`` for packed rows, see ``LLMHead.forward``.
        """
        if sample_ids is None:
            learnt_BL = labels != IGNORE
            learnt_BL[:, 0] = False
            return cls(tokens, learnt_BL, tokens.sum(1))
        runs_BL = number_runs(sample_ids, keep)
        learnt_BL = hide_first_labels(labels, runs_BL) != IGNORE
        sums_BS = tokens.new_zeros(len(tokens), int(runs_BL.max()) + 1).scatter_add(1, runs_BL, tokens)
        real_BS = torch.zeros_like(sums_BS).scatter_add(1, runs_BL, keep.float()) > 0  # padding is no sample
        return cls(tokens, learnt_BL, sums_BS[real_BS])


def logprobs_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of every label, float32 ``[B, L]``, from all logits ``[B, L, V]``; 0 where nothing is learnt."""
    found_BL = -F.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORE
    )
    return F.pad(found_BL, (1, 0))


def chunked_logprobs(hidden: Tensor, labels: Tensor, to_logits: Callable[[Tensor], Tensor], vocabulary: int) -> Tensor:
    """Log-probability of every label, without ever holding the logits of all positions.

    With gradients on, each piece's logits are computed again in the backward pass.

    Args:
        hidden: ``[B, L, E]``, what the model's output layer reads.
        labels: int64 ``[B, L]``; -100 where nothing is asked. The first column is not read: nothing predicts it.
        to_logits: The output layer, ``[M, E]`` to ``[M, V]``.
        vocabulary: V, from which the size of a piece follows.

    Returns:
        float32 ``[B, L]``; 0 where the label is -100.
    """
    asked_BL = labels[:, 1:] != IGNORE
    hidden_ME, target_M = hidden[:, :-1][asked_BL], labels[:, 1:][asked_BL]

    def piece(hidden_ME: Tensor, target_M: Tensor) -> Tensor:
        return -F.cross_entropy(to_logits(hidden_ME).float(), target_M, reduction="none")

    size = max(1, CHUNK_BYTES // (4 * vocabulary))
    found: list[Tensor] = []
    for part_ME, part_M in zip(hidden_ME.split(size), target_M.split(size), strict=True):
        if torch.is_grad_enabled():
            found.append(checkpoint(piece, part_ME, part_M, use_reentrant=False))
        else:
            found.append(piece(part_ME, part_M))
    tokens_BL = torch.zeros(asked_BL.shape, dtype=torch.float32, device=hidden.device)
    tokens_BL = tokens_BL.masked_scatter(asked_BL, torch.cat(found))
    return F.pad(tokens_BL, (1, 0))
