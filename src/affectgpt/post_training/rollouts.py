"""Answers that the model itself writes to learn from: a group for each clip, with the probabilities of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

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

    def pieces(self, size: int | None, clips: Sequence[int]) -> list[Piece]:
        """The answers to some of the clips, a few at a time.

        Args:
            size: Most answers in a piece; all by default. Whole groups stay together where they fit.
            clips: Positions of the clips.
        """
        group = self.group_size
        size = group * len(self.batch) if size is None else size
        if size < group:
            return [Piece((clip,), slice(start, start + size)) for clip in clips for start in range(0, group, size)]
        step = size // group
        return [Piece(tuple(clips[i : i + step]), slice(0, group)) for i in range(0, len(clips), step)]

    def rows(self, piece: Piece) -> Tensor:
        """Positions of a piece's answers among all, int64 ``[N']``."""
        group = torch.arange(self.group_size)[piece.answers]
        return (self.group_size * torch.tensor(piece.clips)[:, None] + group).flatten()


class Piece(NamedTuple):
    """Answers that go through the model together.

    Attributes:
        clips: Positions of their clips.
        answers: Which answers of each clip.
    """

    clips: tuple[int, ...]
    answers: slice


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


class AnswerPass(NamedTuple):
    """What one pass over a piece gives.

    Attributes:
        logprobs: Log-probability of every token, float32 ``[N', A]``; 0 at padding. Gradients flow if autograd is on.
        num_tokens: Tokens that went through the model: prompts, each once, and answers.
    """

    logprobs: Tensor
    num_tokens: int


def answer_pass(model: Any, rollouts: Rollouts, piece: Piece) -> AnswerPass:
    """Pass some answers through a model; those to one clip share one pass over its prompt.

    Args:
        model: An ``AffectGPT``.
        rollouts: The answers.
        piece: Which of them.
    """
    rows = rollouts.rows(piece)
    ids, keep = rollouts.ids[rows], rollouts.keep[rows]
    answers = [tuple(row[kept].tolist()) for row, kept in zip(ids, keep, strict=True)]
    size = len(answers) // len(piece.clips)
    groups = tuple(tuple(answers[i : i + size]) for i in range(0, len(answers), size))
    out = model(replace(rollouts.batch.rows(piece.clips), answer_ids=groups))
    logprobs_NA = F.pad(-out.token_losses, (0, ids.shape[1] - out.token_losses.shape[1]))
    return AnswerPass(logprobs_NA, out.num_positions - out.num_padding)


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
