"""Answers a whole set: encoders once a clip, prompts sorted by length, batches of a number of tokens.

The answers are those of one by one, as far as rounding goes: padding and batch mates have no influence on a prompt, nor
on how its answer is drawn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from affectgpt.errors import ConfigError
from affectgpt.files import digest_of
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.llm.thread_choice import fitting_threads
from affectgpt.model.answer import CUT_SUBTITLE, WritesAnswers, answer_batch, to_prediction
from affectgpt.model.network import Network
from affectgpt.model.slot_content import SlotContent
from affectgpt.training.halving import in_halves
from affectgpt.types import Batch, Prediction

log = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 32768, "cuda": 32768}
"""Tokens of a batch by device: its last answers are written by few rows, so that many rows share the wait for them."""

CLIPS_AT_ONCE = {"cpu": 8}
"""Clips that are encoded together, where more are slower: what encoders compute in between leaves a CPU's cache."""


@dataclass(frozen=True)
class AnsweringPlan:
    """How a set is answered; no size changes what is answered.

    Attributes:
        batch_tokens: Most tokens of a batch, answers at their longest included; one prompt is always answered. By
            default ``BATCH_TOKENS`` of the device.
        window: Prompts that wait to be sorted by length; more mean less padding, and answers that come later.
        max_new_tokens: Longest answer; the model's own limit by default.
        sampling: How answers are drawn; greedily by default. With a seed, each sample draws with a seed of its own,
            made of that one, its key and its question: a resumed run draws what an uninterrupted one does.
        hide: Slots to leave out, see ``AffectGPT.forward``.

    Raises:
        ConfigError: If a number is below 1.
    """

    batch_tokens: int | None = None
    window: int = 256
    max_new_tokens: int | None = None
    sampling: AnswerSampling | None = None
    hide: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"answering: {name} is {value}, but must be at least 1")
        if self.sampling is not None and self.sampling.num_answers != 1:
            raise ConfigError(
                f"answering: {self.sampling.num_answers} answers to each question; a set is answered with one each "
                "(AffectGPT.generate writes several)"
            )


class SetAnswerer(WritesAnswers, Protocol):
    """The side of a model that answering a set needs."""

    @property
    def network(self) -> Network:
        """The parts of the model."""


@dataclass
class _Waiting:
    """Prompts whose clips were encoded."""

    keys: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    subtitles: list[str | None] = field(default_factory=list)
    contents: list[SlotContent] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, batch: Batch, content: SlotContent, questions: Sequence[str] | None) -> None:
        """Add every clip of a batch with its question, or with each of some questions, clip by clip."""
        asked = [(i, question) for i, own in enumerate(batch.questions) for question in questions or [own]]
        rows = [i for i, _ in asked]
        before = 1 + max(self.clips, default=-1)
        self.clips += [before + i for i in rows]
        self.keys += [batch.keys[i] for i in rows]
        self.subtitles += [batch.subtitles[i] for i in rows]
        self.questions += [question for _, question in asked]
        self.contents.append(content.rows(rows) if questions else content)


@torch.no_grad()
def answer_set(
    model: SetAnswerer,
    batches: Iterable[Batch],
    plan: AnsweringPlan | None = None,
    questions: Sequence[str] | None = None,
) -> Iterator[list[Prediction]]:
    """Answer every sample of a set.

    Args:
        model: The model, in eval mode.
        batches: The set's batches, on any device.
        plan: How it is answered.
        questions: Ask each clip all of these instead of its own question.

    Yields:
        Predictions in the order of the samples (of a clip, in the order of the questions), a window at a time.

    Raises:
        DataError: If the device's memory does not hold one prompt.
    """
    plan = plan or AnsweringPlan()
    cut: list[str] = []
    for found in _answered(model, batches, plan, questions):
        cut += [one.key for one in found if one.missing == CUT_SUBTITLE]
        yield found
    if cut:
        log.warning(
            "the subtitles of %d samples are too long for the prompt, and were shortened, as of %r", len(cut), cut[0]
        )


def _answered(
    model: SetAnswerer, batches: Iterable[Batch], plan: AnsweringPlan, questions: Sequence[str] | None
) -> Iterator[list[Prediction]]:
    waiting = _Waiting()
    for batch in batches:
        if model.network.is_sharded:  # ranks that share the weights take every step together
            sampling = sampling_of(plan.sampling, batch.keys, batch.questions)
            yield answer_batch(model, batch.to(model.device), plan.max_new_tokens, plan.hide, sampling)
            continue
        start = time.perf_counter()
        moved = batch.to(model.device)
        at_once = CLIPS_AT_ONCE.get(model.device.type, len(moved))
        contents: list[SlotContent] = []
        for first in range(0, len(moved), at_once):
            some = moved.rows(range(first, min(first + at_once, len(moved))))
            contents += in_halves(
                lambda cut, some=some: [model.network.look(some.rows(range(cut.start, cut.stop)), plan.hide)],  # type: ignore[misc]
                some.keys,
                model.device,
            )
        waiting.add(batch, SlotContent.joined(contents), questions)
        waiting.seconds += time.perf_counter() - start
        if len(waiting.keys) >= plan.window:
            yield _answer(model, waiting, plan)
            waiting = _Waiting()
    if waiting.keys:
        yield _answer(model, waiting, plan)


def token_batches(
    lengths: Sequence[int], answer_tokens: int, batch_tokens: int, clips: Sequence[int] | None = None
) -> list[list[int]]:
    """Deal prompts out to batches of similar length, the longest first, so that too large a batch fails at once.

    Args:
        lengths: Tokens of each prompt.
        answer_tokens: Tokens of the longest answer.
        batch_tokens: Most tokens of a batch: rows times the longest prompt and answer.
        clips: Number of each prompt's clip. Prompts of one clip stay neighbours: what they begin with is read once.

    Returns:
        Numbers of the prompts of each batch.

    Examples:
        >>> token_batches([3, 9, 4, 8], answer_tokens=1, batch_tokens=20)
        [[1, 3], [2, 0]]
        >>> token_batches([3, 9, 4, 8], answer_tokens=1, batch_tokens=20, clips=[0, 0, 1, 1])
        [[1, 0], [3, 2]]
    """
    clips = range(len(lengths)) if clips is None else clips
    longest: dict[int, int] = {}
    for clip, length in zip(clips, lengths, strict=True):
        longest[clip] = max(length, longest.get(clip, 0))
    batches: list[list[int]] = []
    widest = 0
    for number in sorted(range(len(lengths)), key=lambda i: (-longest[clips[i]], clips[i], -lengths[i], i)):
        widest = max(widest, lengths[number])
        if batches and (len(batches[-1]) + 1) * (widest + answer_tokens) <= batch_tokens:
            batches[-1].append(number)
        else:
            batches.append([number])
            widest = lengths[number]
    return batches


def sampling_of(
    sampling: AnswerSampling | None, keys: Sequence[str], questions: Sequence[str]
) -> AnswerSampling | None:
    """How some samples are drawn: with a seed for each, made of the seed, the sample's key and its question.

    Args:
        sampling: The settings; without a seed they stay as they are.
        keys: The samples.
        questions: Their questions.
    """
    if sampling is None or sampling.is_greedy or sampling.seed is None:
        return sampling
    seeds = [int(digest_of([sampling.seed, *sample])[:12], 16) for sample in zip(keys, questions, strict=True)]
    return replace(sampling, seed=None, seeds=tuple(seeds))


def _answer(model: SetAnswerer, waiting: _Waiting, plan: AnsweringPlan) -> list[Prediction]:
    network, start = model.network, time.perf_counter()
    content = SlotContent.joined(waiting.contents)
    prompt = network.render(content, waiting.questions, waiting.subtitles, keys=waiting.keys, hide=plan.hide)
    longest = plan.max_new_tokens or model.max_new_tokens
    lengths: list[int] = prompt.keep.sum(1).tolist()
    texts = [""] * len(lengths)
    batch_tokens = plan.batch_tokens or BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cuda"])
    sampling = sampling_of(plan.sampling, waiting.keys, waiting.questions)
    with fitting_threads(model.device):
        for rows in token_batches(lengths, longest, batch_tokens, waiting.clips):

            def write(cut: slice, rows: list[int] = rows) -> list[str]:
                drawn = None if sampling is None else sampling.rows(rows[cut])
                found = network.write(prompt.rows(rows[cut]), content.rows(rows[cut]), longest, drawn)
                return list(found.texts)

            written = in_halves(write, [waiting.keys[i] for i in rows], model.device)
            for i, text in zip(rows, written, strict=True):
                texts[i] = text
    seconds = {"answer": (waiting.seconds + time.perf_counter() - start) / len(texts)}
    shows_words = "subtitle" in model.slots - {*plan.hide}
    return [
        to_prediction(
            key,
            text,
            labels_asked=question == model.style.label_question,
            used=(*used, "subtitle") if words and shows_words else used,
            missing=CUT_SUBTITLE if is_cut else None,
            seconds=seconds,
        )
        for key, text, question, used, words, is_cut in zip(
            waiting.keys, texts, waiting.questions, content.used, waiting.subtitles, prompt.is_cut, strict=True
        )
    ]
