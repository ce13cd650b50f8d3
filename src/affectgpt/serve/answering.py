"""Answers a batch of clips, each with questions of its own, so that one bad clip fails alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch

from affectgpt.datamodules.collate import collate
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.llm.thread_choice import fitting_threads
from affectgpt.model.answer import CUT_SUBTITLE, to_prediction
from affectgpt.model.answer_set import BATCH_TOKENS, SetAnswerer, token_batches
from affectgpt.model.slot_content import SlotContent
from affectgpt.serve.prompt_writer import NetworkWriter, PromptWriter, Written
from affectgpt.training.halving import in_halves
from affectgpt.types import Clip, Prediction

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Job:
    """A clip and what is asked about it.

    Attributes:
        clip: The decoded clip.
        questions: The questions, at least one.
        max_new_tokens: Longest answer, in tokens.
        sampling: How the answers are drawn.
    """

    clip: Clip
    questions: tuple[str, ...]
    max_new_tokens: int
    sampling: AnswerSampling = field(default_factory=AnswerSampling)


@dataclass(frozen=True)
class Reply:
    """The answer to one question.

    Attributes:
        question: The question.
        prediction: The answer, parsed.
        prompt_tokens: Tokens of the prompt, those of the media included.
        answer_tokens: Tokens that were written.
        ended: ``False`` if the answer was cut at the longest length.
    """

    question: str
    prediction: Prediction
    prompt_tokens: int
    answer_tokens: int
    ended: bool


@torch.no_grad()
def answer_jobs(
    model: SetAnswerer, jobs: Sequence[Job], writer: PromptWriter | None = None
) -> list[tuple[Reply, ...] | Exception]:
    """Answer a batch of jobs.

    Jobs with the same longest length and the same sampling are answered together; a job with a seed is answered alone,
    since the draws depend on what else is in a batch. What does not fit into memory is halved.

    Args:
        model: The model, in eval mode.
        jobs: The jobs.
        writer: What writes the answers; by default the model.

    Returns:
        For each job its replies, one for each question, or the error that it alone caused.
    """
    groups: dict[object, list[int]] = {}
    for number, job in enumerate(jobs):
        alone = number if job.sampling.seed is not None else None
        groups.setdefault((job.max_new_tokens, job.sampling, alone), []).append(number)
    results: list[tuple[Reply, ...] | Exception] = [RuntimeError("not answered")] * len(jobs)
    for numbers in groups.values():
        answer = partial(_answer, model, writer=writer or NetworkWriter(model.network))
        found = each_alone(answer, [jobs[i] for i in numbers])
        for number, result in zip(numbers, found, strict=True):
            results[number] = result
    return results


def each_alone(answer: Callable[[Sequence[Asked]], Sequence[Found]], jobs: Sequence[Asked]) -> list[Found | Exception]:
    """Answer all jobs at a time; if that fails, each by itself, so that one bad job fails alone.

    Args:
        answer: Gives a result for each job.
        jobs: The jobs.

    Returns:
        For each job its result, or the error that it alone caused.
    """
    try:
        return list(answer(jobs))
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        log.warning("a batch of %d jobs failed (%s); answering them one by one", len(jobs), type(error).__name__)
    return [result for job in jobs for result in each_alone(answer, [job])]


def _answer(model: SetAnswerer, jobs: Sequence[Job], *, writer: PromptWriter) -> list[tuple[Reply, ...]]:
    network, longest, sampling = model.network, jobs[0].max_new_tokens, jobs[0].sampling
    clips, first = [job.clip for job in jobs], [job.questions[0] for job in jobs]
    batch = collate(clips, first, profile=model.media).to(model.device)
    looked = in_halves(lambda cut: [network.look(batch.rows(range(cut.start, cut.stop)))], batch.keys, model.device)
    asked = [(i, question) for i, job in enumerate(jobs) for question in job.questions]
    rows = [i for i, _ in asked]
    content = SlotContent.joined(looked).rows(rows)
    keys, subtitles = [batch.keys[i] for i in rows], [batch.subtitles[i] for i in rows]
    questions = [question for _, question in asked]
    prompt = network.render(content, questions, subtitles, keys=keys)
    lengths: list[int] = prompt.keep.sum(1).tolist()
    batch_tokens = BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cuda"])
    replies: dict[int, Reply] = {}
    with fitting_threads(model.device):
        for numbers in token_batches(lengths, longest, batch_tokens):

            def write(cut: slice, numbers: list[int] = numbers) -> list[Written]:
                rows_cut = numbers[cut]
                return list(writer(prompt.rows(rows_cut), content.rows(rows_cut), longest, sampling))

            found = in_halves(write, [keys[i] for i in numbers], model.device)
            for i, written in zip(numbers, found, strict=True):
                question = asked[i][1]
                used = content.used[i]
                if subtitles[i] and "subtitle" in model.slots:
                    used = (*used, "subtitle")
                labels_asked = question == model.style.label_question
                missing = CUT_SUBTITLE if prompt.is_cut[i] else None
                prediction = to_prediction(keys[i], written.text, labels_asked=labels_asked, used=used, missing=missing)
                replies[i] = Reply(question, prediction, lengths[i], written.num_tokens, written.ended)
    return [tuple(replies[i] for i, row in enumerate(rows) if row == number) for number in range(len(jobs))]
