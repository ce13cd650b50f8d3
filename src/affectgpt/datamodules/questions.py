"""Chooses the question for a clip in an epoch, and the answer to learn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from affectgpt.errors import ConfigError
from affectgpt.manifests.record import SampleError
from affectgpt.metrics.functional.preference import MIRRORED
from affectgpt.prompts.preference import preference_wording
from affectgpt.prompts.template import PromptStyle
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.types import Clip, PreferencePair

Task = Literal[
    "labels", "description", "hybrid", "preferred", "preference", "preference_as_given", "preference_swapped"
]
TASKS: tuple[Task, ...] = (
    "labels",
    "description",
    "hybrid",
    "preferred",
    "preference",
    "preference_as_given",
    "preference_swapped",
)
"""``preferred`` asks for a description; the better one of the two is the answer. ``preference`` asks which of
the two fits better: in training in an order that is drawn anew for each epoch, elsewhere as they are given;
``preference_swapped`` with each in the other's place."""

OUTSIDE_TRAINING: Mapping[Task, Task] = {"hybrid": "labels", "preference": "preference_as_given"}
"""What is asked in place of a task that draws its question."""

_NO_PAIR = "clip {!r} has no two descriptions (a1, a2); pack a table of pairs, such as track3_emoprefer"


def check_task(task: str) -> Task:
    """Read a task.

    Raises:
        ConfigError: If the task is unknown.
    """
    for known in TASKS:
        if task == known:
            return known
    raise ConfigError(f"unknown task {task!r}; known: {', '.join(TASKS)}")


def is_preference(task: Task) -> bool:
    """Whether a task asks for the better of two descriptions."""
    return task.startswith("preference")


def preference_question(
    task: Task, clip: Clip, *, seed: int, epoch: int, style: PromptStyle = OFFICIAL, name: str | None = None
) -> tuple[str, str | None]:
    """The question about a clip's two descriptions, and the answer, ``None`` where the preference is not known.

    ``preference`` draws their order with equal chance, as a pure function of seed, epoch and name, so that a model does
    not learn to prefer what comes first.

    Args:
        task: ``preference``, ``preference_as_given`` or ``preference_swapped``.
        clip: ``extra["pair"]`` holds ``a1``, ``a2`` and ``preference``, as ``affectgpt pack`` stores them.
        seed: Seed of the run.
        epoch: Number of the pass over the data.
        style: The wording.
        name: The clip's name within its set; by default its key.

    Raises:
        SampleError: If the clip has no pair, or another preference.
    """
    pair: Any = clip.extra.get("pair")
    first, second, preference = (
        pair.get(key) if isinstance(pair, Mapping) else None for key in ("a1", "a2", "preference")
    )
    if not (isinstance(first, str) and isinstance(second, str)):
        raise SampleError(clip.key, "ask", "no_target", _NO_PAIR.format(clip.key))
    if preference is not None and preference not in MIRRORED:
        message = f"clip {clip.key!r} has the preference {preference!r}; expected a1, a2 or same"
        raise SampleError(clip.key, "ask", "no_target", message)
    if task == "preference_swapped" or (task == "preference" and _drawn_bit(seed, epoch, name or clip.key)):
        first, second, preference = second, first, None if preference is None else MIRRORED[preference]
    wording = preference_wording(style)
    return wording.ask(first, second), None if preference is None else wording.answer_of(preference)


def question_for(task: Literal["labels", "description"], style: PromptStyle = OFFICIAL) -> str:
    """The question of a task."""
    return style.label_question if task == "labels" else style.description_question


def draw_task(
    task: Literal["labels", "description", "hybrid"], clip: Clip, *, seed: int, epoch: int, name: str | None = None
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
        drawn: Literal["labels", "description"] = (
            "labels" if _drawn_bit(seed, epoch, name or clip.key) else "description"
        )
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
    """The question for a clip in an epoch, and the answer to learn; see ``draw_task`` and ``preference_question``.

    Raises:
        SampleError: If the clip has no target for the task.
    """
    if task == "preferred":
        pair = PreferencePair.of(clip)
        if pair is None:
            raise SampleError(clip.key, "ask", "no_target", _NO_PAIR.format(clip.key))
        return style.description_question, pair.better
    if task not in ("labels", "description", "hybrid"):
        question, known = preference_question(task, clip, seed=seed, epoch=epoch, style=style, name=name)
        if known is None:
            message = f"clip {clip.key!r} has no preference, which the task {task!r} learns; answer it with predict"
            raise SampleError(clip.key, "ask", "no_target", message)
        return question, known
    drawn = draw_task(task, clip, seed=seed, epoch=epoch, name=name)
    answer = style.answer_of(clip.labels) if drawn == "labels" else str(clip.description)
    return question_for(drawn, style), answer


def _drawn_bit(seed: int, epoch: int, name: str) -> bool:
    """A coin that is a pure function of seed, epoch and name."""
    return bool(hashlib.blake2b(f"{seed}/{epoch}/{name}".encode(), digest_size=1).digest()[0] % 2)
