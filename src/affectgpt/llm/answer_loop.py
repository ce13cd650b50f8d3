"""Writes answers with a head's ``embed`` and ``forward`` alone: works for every head, but without a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from affectgpt.llm.answer_sampling import AnswerSampling, next_tokens, seeded
from affectgpt.llm.written_answers import WrittenAnswers
from affectgpt.prompts.template import AnswerEnd

if TYPE_CHECKING:
    from affectgpt.llm.base import LLMHead


def write_answers(
    head: LLMHead, embeds: Tensor, keep: Tensor, max_new_tokens: int, stop: AnswerEnd, sampling: AnswerSampling
) -> WrittenAnswers:
    """Write answers; see ``LLMHead.write``."""
    draws = sampling.row_draws(len(keep))
    embeds = embeds.repeat_interleave(sampling.num_answers, 0)
    keep = keep.repeat_interleave(sampling.num_answers, 0)
    answers: list[list[int]] = [[] for _ in range(len(embeds))]
    texts = [""] * len(answers)
    open_rows = set(range(len(answers)))
    # ranks that share the weights must take every step together
    in_step = any(isinstance(p, DTensor) for p in head.parameters())
    with seeded(sampling.seed, embeds.device):
        for _ in range(max_new_tokens):
            drawn = None if draws is None else draws.next()
            ids = next_tokens(head(embeds, keep).logits[:, -1], sampling, drawn)
            for i, token in enumerate(ids.tolist()):
                if i not in open_rows:
                    continue
                answers[i].append(token)
                if token == head.tokenizer.eos_token_id:
                    open_rows.discard(i)
                    continue
                texts[i] = head.tokenizer.decode(answers[i], skip_special_tokens=True)
                if any(string in texts[i] for string in stop.strings):
                    open_rows.discard(i)
            if not open_rows and not in_step:
                break
            embeds = torch.cat([embeds, head.embed(ids[:, None]).to(embeds.dtype)], 1)
            keep = torch.cat([keep, keep.new_ones(len(keep), 1)], 1)
    ids = torch.full((len(answers), max(map(len, answers))), head.tokenizer.pad_token_id)
    for i, answer in enumerate(answers):
        ids[i, : len(answer)] = torch.tensor(answer)
    ended = [i not in open_rows for i in range(len(answers))]
    return WrittenAnswers.of([stop.read(text) for text in texts], ids, [len(answer) for answer in answers], ended)
