"""Log-probabilities of given tokens, and their sums over samples.

``B`` rows, ``L`` tokens a row, ``V`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.llm.packed_rows import hide_first_labels, number_runs
from affectgpt.prompts.render import IGNORE


@dataclass(frozen=True)
class AnswerLogProbs:
    """Natural logarithms of the probability that a model gives to answers.

    Attributes:
        tokens: float32 ``[B, L]``: at position t, the log-probability of the label there given all tokens before it; 0
            where the label is -100.
        learnt: Bool ``[B, L]``; ``True`` where the label is a token.
        sums: float32, one number per sample: ``[B]``; for packed rows, all samples in order, row by row.
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
        real_BS = torch.zeros_like(sums_BS).scatter_add(1, runs_BL, keep.float()) > 0  # padding is not a sample
        return cls(tokens, learnt_BL, sums_BS[real_BS])


def logprobs_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of every label, float32 ``[B, L]``, from all logits ``[B, L, V]``; 0 where the label is -100."""
    found_BL = -F.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORE
    )
    return F.pad(found_BL, (1, 0))
