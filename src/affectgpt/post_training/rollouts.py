"""Answers that the model itself writes to learn from: a group for each clip, with the probabilities of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.metrics.labels import parse_labels
from affectgpt.training.rewards.base import RatedAnswers
from affectgpt.types import Batch


@dataclass(frozen=True)
class Rollouts:
    """``P`` clips with ``G`` answers to each; N = P * G answers, all of the first clip come first.

    Attributes:
        batch: The clips, with the features of frozen encoders in place of their media.
        ids: int64 ``[N, A]`` on the CPU, tokens of the answers, what ended them included; padded on the right.
        keep: Bool ``[N, A]`` on the CPU; ``True`` marks a token of an answer.
        answers: The same answers, for the rewards.
    """

    batch: Batch
    ids: Tensor
    keep: Tensor
    answers: RatedAnswers

    @property
    def group_size(self) -> int:
        """Answers to a clip, G."""
        return len(self.ids) // len(self.batch)

    def pieces(self, size: int) -> Iterator[slice]:
        """Rows of at most ``size`` answers at a time."""
        for start in range(0, len(self.ids), size):
            yield slice(start, min(start + size, len(self.ids)))


def write_rollouts(model: Any, batch: Batch, sampling: AnswerSampling, max_new_tokens: int) -> Rollouts:
    """Write a group of answers to every clip of a batch.

    Args:
        model: An ``AffectGPT``.
        batch: Clips with their true labels, on the model's device.
        sampling: How tokens are drawn, and how many answers a clip gets.
        max_new_tokens: Longest answer.
    """
    with torch.no_grad():
        out = model(batch, max_new_tokens, sampling=sampling)
    frozen = {name: found for name, found in out.features.items() if model.encoder(name).frozen}
    written = out.written
    clips = [clip for clip in range(len(batch)) for _ in range(sampling.num_answers)]
    answers = RatedAnswers(
        keys=tuple(batch.keys[clip] for clip in clips),
        texts=out.texts,
        labels=tuple(tuple(parse_labels(text)) for text in out.texts),
        target=tuple(batch.labels[clip] for clip in clips),
        num_tokens=tuple(written.keep.sum(1).tolist()),
        ended=tuple(written.ended.tolist()),
    )
    return Rollouts(replace(batch, features={**batch.features, **frozen}), written.ids, written.keep, answers)


def answer_logprobs(model: Any, rollouts: Rollouts, rows: slice) -> Tensor:
    """Log-probability of every token of some answers, float32 ``[N', A]``; 0 at padding. Gradients flow.

    Args:
        model: An ``AffectGPT``.
        rollouts: The answers.
        rows: Which of them.
    """
    ids, keep = rollouts.ids[rows], rollouts.keep[rows]
    clips = [row // rollouts.group_size for row in range(rows.start, rows.stop)]
    answers = tuple(tuple(row[kept].tolist()) for row, kept in zip(ids, keep, strict=True))
    batch = replace(rollouts.batch.rows(clips), answer_ids=answers)
    out = model(batch)
    # both masks hold the tokens of the first answer first, then those of the second, and so on
    tokens_NA = torch.zeros(keep.shape, dtype=torch.float32, device=out.token_losses.device)
    return tokens_NA.masked_scatter(keep.to(tokens_NA.device), -out.token_losses[out.learnt])


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Training mode without dropout: ratios are then 1 where the weights are the same.

    Modules that drop out by a probability of their own are put into eval mode; the others stay as they are, so that
    activation checkpointing goes on.
    """
    dropping = [
        module
        for module in model.modules()
        if module.training and (isinstance(module, nn.modules.dropout._DropoutNd) or _drops(module))
    ]
    for module in dropping:
        module.training = False
    try:
        yield
    finally:
        for module in dropping:
            module.training = True


def _drops(module: nn.Module) -> bool:
    names: Sequence[str] = ("dropout", "attention_dropout", "attn_dropout", "slot_dropout", "layerdrop")
    rates = [getattr(module, name, None) for name in names]
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
