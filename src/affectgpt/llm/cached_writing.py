"""Writes answers of a transformers model with a cache of fixed size, and lets rows go as their answers end.

``B`` rows, ``L`` tokens of the longest prompt, ``E`` width of the embeddings, ``V`` vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from affectgpt.llm.answer_ends import AnswerEnds
from affectgpt.llm.answer_sampling import AnswerSampling, next_tokens
from affectgpt.llm.key_value_cache import KeyValueCache, cache_argument, causal_mask, suits_cache
from affectgpt.llm.packed_attention import BY_LENGTH, packed_arguments, readable_mask, registered_sdpa
from affectgpt.llm.packed_rows import positions_of
from affectgpt.llm.prompt_reading import BeginningRow, Beginnings
from affectgpt.llm.scatter import sent
from affectgpt.llm.split_linear import TensorShare

log = logging.getLogger(__name__)

LOOK_EVERY = {"cpu": 1}
LOOK_EVERY_ELSEWHERE = 8
"""Tokens after which the host looks for ends; each look waits for the device."""

DROP_SHARE = 0.8
"""Ended rows are let go once no more than this share of the rows is open."""


class CachedWriter:
    """Writes answers of one model.

    Args:
        network: A causal LM of transformers, adapters put into its layers included.
        share: Where ranks hold its layers together: those that write the same answers.
    """

    def __init__(self, network: Any, share: TensorShare | None = None) -> None:
        self._network = network
        self._share = share
        self._cache_name = cache_argument(network)
        self._works: bool | None = None
        self._packs = False  # whether prompts are read end to end, without padding

    @torch.no_grad()
    def write(
        self,
        embeds: Tensor,
        keep: Tensor,
        max_new_tokens: int,
        sampling: AnswerSampling,
        ends: AnswerEnds,
        pad: int,
    ) -> Tensor:
        """Token ids of answers, int64 ``[B * num_answers, L']`` on the CPU.

        An answer holds what ended it, and is padded on the right.

        Args:
            embeds: Float ``[B, L, E]``, padded on the left.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            max_new_tokens: Longest answer.
            sampling: How tokens are drawn.
            ends: What ends an answer.
            pad: Fills up shorter answers.
        """
        draws = sampling.row_draws(len(keep))
        group, device = sampling.num_answers, keep.device
        count = group * len(keep)
        look_every = LOOK_EVERY.get(device.type, LOOK_EVERY_ELSEWHERE)
        lookup = self._network.get_input_embeddings()
        answers = torch.full((count, max_new_tokens), pad, device=device)
        lengths = [max_new_tokens] * count
        rows = list(range(count))  # which answer each row writes
        rows_B = torch.arange(count, device=device)
        logits, keep, cache = self._read(embeds, keep, max_new_tokens)
        positions = keep.sum(1)[:, None] - 1  # of the last token
        with sdpa(self._network):
            if group > 1:  # all answers to a prompt go on from one pass over it
                first = torch.arange(len(keep), device=device).repeat_interleave(group)
                keep, positions, logits = keep[first], positions[first], logits[first]
                cache.keep_rows(first)
            for step in range(max_new_tokens):
                ids_B = next_tokens(logits, sampling, None if draws is None else draws.next(rows))
                ids_B = ids_B if self._share is None else self._share.agreed(ids_B)
                answers[rows_B, step] = ids_B
                if step + 1 == max_new_tokens:
                    break
                if (step + 1) % look_every == 0:
                    open_rows = self._open(answers[rows_B, : step + 1], rows, lengths, ends, step + 1 - look_every)
                    if not open_rows:
                        break
                    if len(open_rows) <= DROP_SHARE * len(rows):
                        kept = torch.tensor(open_rows, device=device)
                        rows, rows_B = [rows[i] for i in open_rows], rows_B[kept]
                        keep, positions, ids_B = keep[kept], positions[kept], ids_B[kept]
                        cache.keep_rows(kept)
                keep = torch.cat([keep, keep.new_ones(len(keep), 1)], 1)
                positions = positions + 1
                embeds = lookup(ids_B[:, None]).to(embeds.dtype)
                logits = self._step(embeds, causal_mask(keep, 1), positions, cache)
        found = answers.cpu()
        for i, ids in enumerate(found.tolist()):
            if lengths[i] == max_new_tokens:  # open at the last look
                lengths[i] = ends.find(ids) or max_new_tokens
            found[i, lengths[i] :] = pad
        return found[:, : max(lengths, default=0)]

    def suits(self, length: int) -> bool:
        """Whether the model writes rows of ``length`` tokens with this cache; found out by trying, at the first time.

        Args:
            length: Tokens of the longest prompt and its answer.
        """
        if not suits_cache(self._network, length):
            return False
        if self._works is None:
            self._works = self._try()
            if not self._works:
                log.info("%s writes with the cache of transformers", type(self._network).__name__)
            elif self._network.config._attn_implementation in BY_LENGTH:
                self._packs = True
                self._packs = self._try()
        return self._works

    def _read(self, embeds: Tensor, keep: Tensor, more: int) -> tuple[Tensor, Tensor, KeyValueCache]:
        """Read prompts; what neighbours begin with alike is read once.

        Args:
            embeds: Float ``[B, L, E]``, padded on the left.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            more: Tokens for which the cache is to have room after the prompts.

        Returns:
            Logits of the next token, ``[B, V]``; where the cache holds tokens, bool ``[B, L']``; the cache.
        """
        if not self._packs:
            cache = KeyValueCache(keep.shape[1] + more)
            positions = (keep.cumsum(1) - 1).clamp(min=0)
            with sdpa(self._network):
                return self._step(embeds, causal_mask(keep, keep.shape[1]), positions, cache), keep, cache
        device, kept = embeds.device, keep.cpu()
        begin = Beginnings.of(embeds, keep)
        row = BeginningRow.of(begin, kept)
        ends = kept.sum(1) - torch.tensor(begin.lengths)[list(begin.group)]
        longest = int(ends.max())
        cache = KeyValueCache(row.keep.shape[1] + longest + more)
        runs = row.group[None] + 1
        laid = embeds[sent(row.row, device), sent(row.column, device)][None]
        given = packed_arguments(self._network, laid, runs, sent(positions_of(runs), device))
        given |= {self._cache_name: cache, "use_cache": True}
        with cache.dealing(sent(row.group, device), sent(row.kept_at, device), len(row.keep)):
            logits: Tensor = self._network(**given, logits_to_keep=sent(row.last, device)).logits[0]
        cache.filled = row.keep.shape[1]
        held = sent(row.keep, device)
        if not longest:  # the prompts as a whole
            return logits, held, cache
        group = sent(torch.tensor(begin.group), device)
        cache.keep_rows(group)
        end = sent(torch.arange(longest) >= longest - ends[:, None], device)
        held = torch.cat([held[group], end], 1)
        positions = (held.cumsum(1) - 1).clamp(min=0)[:, -longest:]
        with sdpa(self._network):
            logits = self._step(embeds[:, -longest:], causal_mask(held, longest), positions, cache)
        return logits, held, cache

    def _step(self, embeds: Tensor, mask: Tensor, positions: Tensor, cache: KeyValueCache) -> Tensor:
        """Logits of the next token, ``[B, V]``."""
        mask = readable_mask(self._network, mask, embeds.dtype)
        given = {self._cache_name: cache, "attention_mask": mask, "position_ids": positions, "use_cache": True}
        logits: Tensor = self._network(inputs_embeds=embeds, logits_to_keep=1, **given).logits[:, -1]
        cache.filled += embeds.shape[1]
        return logits

    def _open(self, ids: Tensor, rows: list[int], lengths: list[int], ends: AnswerEnds, looked: int) -> list[int]:
        """Rows whose answer goes on; of the others the length is noted."""
        still = []
        for row, answer in enumerate(ids.tolist()):
            number = rows[row]
            if lengths[number] <= len(answer):
                continue  # ended at an earlier look
            end = ends.find(answer, looked)
            if end is None:
                still.append(row)
            else:
                lengths[number] = end
        return still

    @torch.no_grad()
    def _try(self) -> bool:
        """Whether three tokens and a fourth with the cache give what four without one do, alike at first and not."""
        weight = self._network.get_input_embeddings().weight
        generator = torch.Generator().manual_seed(0)
        embeds = torch.randn(3, 4, weight.shape[1], generator=generator).to(weight.device, weight.dtype)
        embeds[1, :2] = embeds[0, :2]
        keep = torch.ones(3, 4, dtype=torch.bool, device=weight.device)
        keep[2, 0] = False
        rounding = 1e-3 if weight.dtype == torch.float32 else 5e-2
        try:
            expected = self._network(inputs_embeds=embeds, attention_mask=keep.long(), use_cache=False).logits[:, -1]
            for rows in ([0, 1, 2], [0, 2]):
                _, held, cache = self._read(embeds[rows, :3], keep[rows, :3], 1)
                held = torch.cat([held, held.new_ones(len(rows), 1)], 1)
                with sdpa(self._network):
                    step = embeds[rows, 3:], causal_mask(held, 1), held.sum(1)[:, None] - 1
                    found = self._step(*step, cache)
                if (found - expected[rows]).abs().max() > rounding * expected.abs().max():
                    return False
        except (TypeError, AttributeError, ValueError, RuntimeError, IndexError, ImportError):
            return False
        return True


@contextmanager
def sdpa(network: Any) -> Iterator[None]:
    """Run with SDPA, which reads the masks that are made here; flash-attention takes borders in other forms.

    Not for training: what is computed again in a backward pass would run with the former attention.
    """
    config = network.config
    former = config._attn_implementation
    if former != "eager":
        config._attn_implementation = registered_sdpa()
    try:
        yield
    finally:
        config._attn_implementation = former
