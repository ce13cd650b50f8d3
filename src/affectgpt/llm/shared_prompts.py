"""Several answers to one prompt in one row: each sees the prompt and itself, so that the prompt is computed once.

``B`` prompts, ``G`` answers to each, ``N = B * G`` answers, ``L`` tokens of the longest prompt, ``A`` of the longest
answer, ``R`` of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from affectgpt.llm.key_value_cache import suits_cache
from affectgpt.llm.packed_attention import SDPA, readable_mask
from affectgpt.part import in_eval_mode

ROUNDING = {torch.float32: 1e-3}
"""Largest difference of two ways to compute logits, as a share of the largest logit; 5e-2 for half precision."""


@dataclass(frozen=True)
class SharedRows:
    """Rows of a prompt and its answers, end to end; everything on the CPU.

    Attributes:
        token: int64 ``[B, R]``: position of each token in a row of the prompt followed by its answers, each padded to
            A: ``[L + G * A]``; 0 at padding.
        seen: Bool ``[B, 1, R, R]``; ``True`` where the token of a row sees the token of a column. Padding sees itself,
            since a token that sees nothing would give NaN.
        positions: int64 ``[B, R]``; every answer goes on from the end of its prompt.
        at: int64 ``[M]``: positions of the tokens of all answers, one after the other, in ``B * R``.
        before: int64 ``[M]``: the positions whose output predicts them; the first token of every answer is predicted by
            the last one of the prompt.
    """

    token: Tensor
    seen: Tensor
    positions: Tensor
    at: Tensor
    before: Tensor

    @classmethod
    def of(cls, keep: Tensor, answered: Tensor) -> SharedRows:
        """Lay answers out behind their prompts.

        Args:
            keep: Bool ``[B, L]`` on the CPU, padded on the left; ``True`` marks a real token of a prompt.
            answered: Bool ``[N, A]`` on the CPU, padded on the right; all answers to the first prompt come first.

        Examples:
            >>> keep, answered = torch.tensor([[False, True]]), torch.tensor([[True, True], [True, False]])
            >>> rows = SharedRows.of(keep, answered)
            >>> rows.positions.tolist(), rows.at.tolist(), rows.before.tolist()
            ([[0, 0, 1, 2, 1]], [2, 3, 4], [1, 2, 1])
        """
        num_prompts, length = keep.shape
        group, longest = len(answered) // num_prompts, answered.shape[1]
        real = torch.cat([keep, answered.reshape(num_prompts, group * longest)], 1)
        # 0 for the prompt, 1 for the first answer, ...
        number = torch.arange(1, group + 1).repeat_interleave(longest)
        number = torch.cat([torch.zeros(length, dtype=torch.long), number]).expand(num_prompts, -1)
        step = torch.arange(longest).repeat(group).expand(num_prompts, -1)
        prompt_steps = keep.cumsum(1) - 1
        position = torch.cat([prompt_steps.clamp(min=0), prompt_steps[:, -1:] + 1 + step], 1)
        # answers move up behind each other; the prompt, padding included, stays, so that all prompts end at L
        held = torch.cat([torch.ones_like(keep), real[:, length:]], 1)
        width = int(held.sum(1).max())
        token = held.int().argsort(dim=1, descending=True, stable=True)[:, :width]
        real, number, position = (value.gather(1, token) for value in (real, number, position))
        column = torch.arange(width)
        same = (number[:, None, :] == number[:, :, None]) | (number[:, None, :] == 0)
        seen = same & (column[None, :] <= column[:, None]) & real[:, None, :]
        seen |= torch.eye(width, dtype=torch.bool)
        is_answer = real & (number > 0)
        at = is_answer.flatten().nonzero().squeeze(1)
        row, place = at // width, at % width
        begins = number[row, place] != number[row, (place - 1).clamp(min=0)]
        before = torch.where(begins, row * width + length - 1, at - 1)
        return cls(token.masked_fill(~real, 0), seen[:, None], position.masked_fill(~real, 0), at, before)


def padded_answers(answers: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids of answers, int64 ``[N, A]`` padded on the right, and bool ``[N, A]``, ``True`` for their tokens.

    Examples:
        >>> ids, answered = padded_answers([[5, 2], [2]], pad=0)
        >>> ids.tolist(), answered.tolist()
        ([[5, 2], [2, 0]], [[True, True], [True, False]])
    """
    rows = [torch.tensor(answer, dtype=torch.long) for answer in answers]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad)
    return ids, torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]


def shares_prompts(network: Any, length: int) -> bool:
    """Whether a model, by its configuration, can be given rows of ``length`` tokens with a mask of our own.

    Args:
        network: The causal LM of transformers.
        length: Tokens of the longest row.
    """
    return network.config._attn_implementation in (SDPA, "sdpa", "eager") and suits_cache(network, length)


def shared_arguments(network: Any, embeds: Tensor, rows: SharedRows) -> dict[str, Any]:
    """Arguments of a transformers model for rows of a prompt and its answers, float ``[B, R, E]``."""
    seen = rows.seen.to(embeds.device, non_blocking=True)
    return {
        "inputs_embeds": embeds,
        "attention_mask": readable_mask(network, seen, embeds.dtype),
        "position_ids": rows.positions.to(embeds.device, non_blocking=True),
        "use_cache": False,
    }


@torch.no_grad()
def try_sharing(network: Any) -> bool:
    """Whether two answers behind one prompt give what each gives alone behind it."""
    weight = network.get_input_embeddings().weight
    if weight.is_meta:
        return True
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(1, 7, weight.shape[1], generator=generator).to(weight.device, weight.dtype)
    rows = SharedRows.of(torch.ones(1, 3, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool))
    try:
        with in_eval_mode(network):
            found = network(**shared_arguments(network, embeds, rows)).logits[:, 5:].float()
            alone = torch.cat([embeds[:, :3], embeds[:, 5:]], 1)
            expected = network(inputs_embeds=alone, use_cache=False).logits[:, 3:].float()
    except (TypeError, AttributeError, ValueError, RuntimeError, IndexError):
        return False
    rounding = ROUNDING.get(weight.dtype, 5e-2)
    return bool((found - expected).abs().max() <= rounding * expected.abs().max())
