"""Renders prompts to token ids, with a known number of placeholders for each slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.prompts.template import Field, PromptStyle, Segment, Slot, Text
from affectgpt.text import clean_text

IGNORE = -100
"""Label of a token that is not learnt; the default ``ignore_index`` of torch's cross-entropy."""


@dataclass(frozen=True)
class PromptIds:
    """A batch of rendered prompts.

    Attributes:
        ids: int64 ``[B, L]``; placeholders and padding hold the padding id.
        keep: Bool ``[B, L]``; ``True`` marks a real token, placeholders included.
        labels: int64 ``[B, L]``, -100 where nothing is learnt; ``None`` without answers.
        slot_index: int64 ``[B, L]``: 0 for text and padding, ``1 + i`` for a placeholder of ``slots[i]``.
        slots: Names of the slots that occur.
        is_cut: For each sample, whether its subtitle was shortened to fit; of all samples where they are packed.
    """

    ids: Tensor
    keep: Tensor
    labels: Tensor | None
    slot_index: Tensor
    slots: tuple[str, ...]
    is_cut: tuple[bool, ...] = ()

    def rows(self, rows: Sequence[int]) -> PromptIds:
        """Some of the prompts, in this order, without the columns that are padding in all of them."""
        kept = self.keep[list(rows)]
        columns = kept.any(0).nonzero().squeeze(1)
        cut = slice(int(columns[0]), int(columns[-1]) + 1)
        ids, index = self.ids[list(rows), cut], self.slot_index[list(rows), cut]
        labels = None if self.labels is None else self.labels[list(rows), cut]
        is_cut = tuple(self.is_cut[row] for row in rows)
        return replace(self, ids=ids, keep=kept[:, cut], labels=labels, slot_index=index, is_cut=is_cut)

    def packed(self) -> tuple[PromptIds, Tensor]:
        """All prompts in one row, end to end and without padding.

        Returns:
            The row, and the number of each token's sample, int64 ``[1, L]``, from 1.
        """
        numbers = torch.arange(1, len(self.keep) + 1)[:, None].expand_as(self.keep)
        ids, index, numbers = (value[self.keep][None] for value in (self.ids, self.slot_index, numbers))
        labels = None if self.labels is None else self.labels[self.keep][None]
        return replace(self, ids=ids, keep=self.keep[self.keep][None], labels=labels, slot_index=index), numbers


class Renderer:
    """Turns samples into token ids in one prompt style.

    Args:
        style: The prompt style.
        tokenizer: A Hugging Face tokenizer with ``pad_token_id`` and ``eos_token_id``.
        max_tokens: Longest sequence, placeholders and answer included.
    """

    def __init__(self, style: PromptStyle, tokenizer: Any, max_tokens: int = 1024) -> None:
        self.style = style
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    def __call__(
        self,
        slots: Sequence[Sequence[str]],
        num_tokens: Mapping[str, int],
        questions: Sequence[str],
        subtitles: Sequence[str | None],
        answers: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
    ) -> PromptIds:
        """Render a batch.

        Args:
            slots: For each sample, the slots to fill.
            num_tokens: Slot name to the number of its tokens.
            questions: One question per sample.
            subtitles: One subtitle per sample: empty if it is unknown; ``None`` selects a prompt without a subtitle.
            answers: Answers to learn; with them, rows are padded on the right and have labels, without them on the
                left.
            keys: Names of the samples, for messages.

        Raises:
            ConfigError: If the batch is empty, a sample does not fit into ``max_tokens`` even without its subtitle, or
                a question, a subtitle or an answer is not a text.
        """
        if not questions:
            raise ConfigError("there are no samples to render; a batch needs at least one question")
        keys = keys if keys is not None else [str(i) for i in range(len(questions))]
        questions = [_text(words, "question", key) for words, key in zip(questions, keys, strict=True)]
        subtitles = [
            None if words is None else _text(words, "subtitle", key) for words, key in zip(subtitles, keys, strict=True)
        ]
        layouts = [
            self.style.layout(names, subtitle=self.style.has_words(names, words))
            for names, words in zip(slots, subtitles, strict=True)
        ]
        fields = [
            {"question": question, "subtitle": words or ""}
            for question, words in zip(questions, subtitles, strict=True)
        ]
        order = {name: i + 1 for i, name in enumerate(dict.fromkeys(n for names in slots for n in names))}
        tails: list[Sequence[int]] = [()] * len(questions)
        if answers is not None:
            texts = [_text(words, "answer", key) for words, key in zip(answers, keys, strict=True)]
            tails = [*self.answer_ids(texts)]
        rows = self._rows(layouts, fields, num_tokens, order, training=answers is not None)
        is_cut = tuple(len(row) + len(tail) > self.max_tokens for row, tail in zip(rows, tails, strict=True))
        for i in (i for i, cut in enumerate(is_cut) if cut):
            rows[i] = self._cut(layouts[i], fields[i], num_tokens, order, tails[i], keys[i])
        return self._padded(rows, tails, answers is not None, tuple(order), is_cut)

    def answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of answers, with what ends them."""
        encoded = self._encoded([answer + self.style.answer_end for answer in answers])
        return [[*ids, self.tokenizer.eos_token_id] for ids in encoded]

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; text that spells a special token, such as ``<|im_end|>`` in a subtitle, is split."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _rows(
        self,
        layouts: Sequence[Sequence[Segment]],
        fields: Sequence[Mapping[str, str]],
        num_tokens: Mapping[str, int],
        order: Mapping[str, int],
        *,
        training: bool,
    ) -> list[list[tuple[int, int]]]:
        """Each sample as (token id, slot index) pairs; all texts of the batch are tokenized in one call."""
        runs = [_text_runs(layout, values) for layout, values in zip(layouts, fields, strict=True)]
        texts = list(dict.fromkeys(run for sample in runs for run in sample if isinstance(run, str)))
        ids_of = dict(zip(texts, self._encoded(texts), strict=True))
        wants_bos = self.style.train_bos if training else self.style.answer_bos
        bos = self.tokenizer.bos_token_id if wants_bos else None
        pad = self.tokenizer.pad_token_id
        rows = []
        for sample in runs:
            row = [(bos, 0)] if bos is not None else []
            for run in sample:
                if isinstance(run, Slot):
                    row += [(pad, order[run.name])] * num_tokens[run.name]
                else:
                    row += [(token, 0) for token in ids_of[run]]
            rows.append(row)
        return rows

    def _cut(
        self,
        layout: Sequence[Segment],
        fields: Mapping[str, str],
        num_tokens: Mapping[str, int],
        order: Mapping[str, int],
        tail: Sequence[int],
        key: str,
    ) -> list[tuple[int, int]]:
        """Shorten the field that may be cut, from its end and by characters, since not all scripts have spaces."""
        words = fields["subtitle"] if Field("subtitle", may_cut=True) in layout else ""
        low, high = 0, len(words)
        best: list[tuple[int, int]] | None = None
        while low <= high:  # bisect for the largest number of characters that still fits
            middle = (low + high) // 2
            shorter = {**fields, "subtitle": words[:middle]}
            row = self._rows([layout], [shorter], num_tokens, order, training=bool(tail))[0]
            if len(row) + len(tail) <= self.max_tokens:
                best, low = row, middle + 1
            else:
                high = middle - 1
        if best is None:
            raise ConfigError(
                f"sample {key!r}: prompt and answer take more than max_tokens={self.max_tokens} tokens even without "
                "the subtitle, and nothing else may be cut; raise max_tokens or ask for shorter answers"
            )
        return best

    def _padded(
        self,
        rows: Sequence[Sequence[tuple[int, int]]],
        tails: Sequence[Sequence[int]],
        training: bool,
        slots: tuple[str, ...],
        is_cut: tuple[bool, ...],
    ) -> PromptIds:
        length = max(len(row) + len(tail) for row, tail in zip(rows, tails, strict=True))
        shape = (len(rows), length)
        ids = torch.full(shape, self.tokenizer.pad_token_id, dtype=torch.long)
        keep = torch.zeros(shape, dtype=torch.bool)
        index = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORE, dtype=torch.long)
        for i, (row, tail) in enumerate(zip(rows, tails, strict=True)):
            # training pads on the right; generation pads on the left, so that all answers start at the same position
            start = 0 if training else length - len(row)
            middle, end = start + len(row), start + len(row) + len(tail)
            ids[i, start:end] = torch.tensor([token for token, _ in row] + list(tail))
            index[i, start:middle] = torch.tensor([slot for _, slot in row])
            keep[i, start:end] = True
            labels[i, middle:end] = torch.tensor(tail, dtype=torch.long)
        return PromptIds(ids, keep, labels if training else None, index, slots, is_cut)


def _text(words: object, what: str, key: str) -> str:
    """A text that a tokenizer accepts: an unpaired surrogate (half of an emoji that was cut) becomes U+FFFD."""
    if not isinstance(words, str):
        raise ConfigError(f"sample {key!r}: the {what} must be a text, but is {words!r}")
    return clean_text(words)


def _text_runs(layout: Sequence[Segment], fields: Mapping[str, str]) -> list[str | Slot]:
    """Fill the fields; text between two slots becomes one string, as the tokenizer must see it."""
    runs: list[str | Slot] = []
    for segment in layout:
        if isinstance(segment, Slot):
            runs.append(segment)
            continue
        text = segment.text if isinstance(segment, Text) else fields[segment.name]
        if runs and isinstance(runs[-1], str):
            runs[-1] += text
        elif text:
            runs.append(text)
    return runs
