"""Chooses the question for a clip in an epoch, and the answer to learn."""

from __future__ import annotations

import hashlib
from typing import Literal

from affectgpt.errors import ConfigError
from affectgpt.manifests.record import SampleError
from affectgpt.prompts.template import PromptStyle
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.types import Clip

Task = Literal["labels", "description", "hybrid"]
TASKS: tuple[Task, ...] = ("labels", "description", "hybrid")


def check_task(task: str) -> Task:
    """Read a task.

    Raises:
        ConfigError: If the task is unknown.
    """
    for known in TASKS:
        if task == known:
            return known
    raise ConfigError(f"unknown task {task!r}; known: {', '.join(TASKS)}")


def question_for(task: Literal["labels", "description"], style: PromptStyle = OFFICIAL) -> str:
    """The question of a task."""
    return style.label_question if task == "labels" else style.description_question


def draw_task(
    task: Task, clip: Clip, *, seed: int, epoch: int, name: str | None = None
) -> Literal["labels", "description"]:
    """Choose which of the two questions to ask about a clip in an epoch.

    ``hybrid`` draws one of the two with equal chance, as a pure function of seed, epoch and name. If a clip lacks the
    target of the drawn question, the other one is asked. The published code uses ``neutral`` if there are no labels;
    here a clip without labels is never learnt as neutral.

    Args:
        task: The task of the run.
        clip: Its labels and description decide what can be asked.
        seed: Seed of the run.
        epoch: Number of the pass over the data.
        name: The clip's name within its set; by default its key.

    Raises:
        SampleError: If the clip has no target for the task.
    """
    offers = {"labels": bool(clip.labels), "description": bool(clip.description)}
    if task == "hybrid":
        digest = hashlib.blake2b(f"{seed}/{epoch}/{name or clip.key}".encode(), digest_size=1).digest()
        drawn: Literal["labels", "description"] = "labels" if digest[0] % 2 else "description"
        other: Literal["labels", "description"] = "description" if drawn == "labels" else "labels"
        if offers[drawn] or offers[other]:
            return drawn if offers[drawn] else other
        message = f"clip {clip.key!r} has neither labels nor a description; pack with --skip-unlabelled"
        raise SampleError(clip.key, "ask", "no_target", message)
    if not offers[task]:
        other = "description" if task == "labels" else "labels"
        remedy = f"use the task {other!r} or 'hybrid'" if offers[other] else "pack with --skip-unlabelled"
        message = f"clip {clip.key!r} has no {task}, which the task {task!r} learns; {remedy}"
        raise SampleError(clip.key, "ask", "no_target", message)
    return task


def question_and_answer(
    task: Task, clip: Clip, *, seed: int, epoch: int, style: PromptStyle = OFFICIAL, name: str | None = None
) -> tuple[str, str]:
    """The question for a clip in an epoch, and the answer to learn; see ``draw_task``.

    Raises:
        SampleError: If the clip has no target for the task.
    """
    drawn = draw_task(task, clip, seed=seed, epoch=epoch, name=name)
    answer = style.answer_of(clip.labels) if drawn == "labels" else str(clip.description)
    return question_for(drawn, style), answer
