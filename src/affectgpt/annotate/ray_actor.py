"""A process on a Ray cluster that holds the models of a pipeline and answers for one file of the journal at a time."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.annotate.actor_deaths import MOST_IN_A_ROW, MOST_STARTS, TRIES_ALONE, Advice
from affectgpt.annotate.answer_journal import AnswerJournal
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.annotate.shared_budget import BudgetOfPurse
from affectgpt.annotate.stage import Answer, failure_reason
from affectgpt.annotate.walk import Walk
from affectgpt.errors import ConfigError, DataError, reason_of


@dataclass(frozen=True)
class ActorJob:
    """What every actor of a run is told.

    Attributes:
        folder: Where the command runs; paths in arguments and of clips are relative to it.
        journal: Folder of the journal, which all machines share.
        run: See ``AnswerJournal.begin_run``.
        pipeline: See ``Pipeline.stages_json``.
        surveyed: See ``Walk``.
        identities: Stage to its identity, for the stages that are asked.
        num_steps: How many these are.
        retry: Whether failures are asked for again, and from which stage on.
        actors: How many actors share the limits of a server.
        cores: Processes that decode for an actor.
        memory_bytes: Bound on the memory of each process.
    """

    folder: str
    journal: str
    run: str
    pipeline: Mapping[str, Any]
    surveyed: Mapping[str, Mapping[str, Any]]
    identities: Mapping[str, Mapping[str, Any]]
    num_steps: int
    retry: tuple[bool, int]
    actors: int
    cores: int
    memory_bytes: int


class AnnotationActor:
    """Asks the stages about the clips of one file of the journal at a time; Ray makes it and calls it.

    Args:
        job: What it is told.
        purse: Handle of the ``Purse`` of the run.
        deaths: Handle of the ``ActorDeaths`` of the run.
    """

    def __init__(self, job: ActorJob, purse: Any, deaths: Any) -> None:
        self._job, self._problem, self._answers = job, b"", 0
        self._ask_deaths = _caller(deaths)
        self._alone: int | None = None  # the file whose clips are asked about one at a time
        try:
            if not self._ask_deaths("start"):
                raise DataError(
                    f"processes were started {MOST_STARTS} times for each of {job.actors} actors, and each died before "
                    "it came to a clip; give them more memory (--actor-memory), or run here to see why"
                )
            self._walk = self._made(job, _caller(purse))
        except Exception as error:  # Ray would try for ever to make the actor
            self._problem = _pickled(error)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Answer what is missing of one file; a problem that ends the run is part of the result."""
        before = self._answers
        try:
            if not self._problem:
                number = int(row["partition"])
                with self._walk.journal.writing(number, self._job.run):
                    self._alone = number if self._ask_deaths("begin", number) else None
                    self._walk.give_up = None if self._alone is None else self._give_up
                    self._walk.advance(pickle.loads(row["clips"]), self._job.num_steps)
        except Exception as error:  # what Ray sees of an exception, it wraps or repeats
            return {"partition": row["partition"], "answers": self._answers - before, "error": _pickled(error)}
        return {"partition": row["partition"], "answers": self._answers - before, "error": self._problem}

    def _made(self, job: ActorJob, call: Callable[..., Any]) -> Walk:
        _bound_memory(job.memory_bytes)
        try:
            os.chdir(job.folder)
            journal = AnswerJournal(Path(job.journal), job.pipeline["partitions"])
        except OSError as error:
            raise ConfigError(
                f"{job.folder!r} or {job.journal!r} cannot be opened on {os.uname().nodename} ({reason_of(error)}); "
                "all machines must see the clips and OUT under the same paths"
            ) from error
        pipeline = make_pipeline(job.pipeline)
        retry, retry_from = job.retry
        walk = Walk(pipeline, journal, job.cores, retry, self._count, retry_from=retry_from)
        for step in pipeline.steps[: job.num_steps]:
            if step.label in job.surveyed:
                walk.tell_surveyed(step, job.surveyed[step.label])
            _check_alike(step.label, walk.identity_of(step), job.identities[step.label])
            if step.stage.server is not None:
                step.stage.server.divide(job.actors)
                step.stage.server.budget = BudgetOfPurse(step.stage.server.budget.prices, step.label, call)
        return walk

    def _count(self, stage: str, answer: Answer, seconds: float) -> None:
        self._answers += 1

    def _give_up(self, key: str) -> str | None:
        """Why a clip is not asked about any more; see ``Walk``."""
        advice: Advice = self._ask_deaths("ask", self._alone, key)
        if advice == "ask":
            return None
        if advice == "end the run":
            raise DataError(
                f"{MOST_IN_A_ROW} clips in a row killed each process that asked about them, so it is not the clips: "
                "give the processes more memory (--actor-memory), or run here to see why. What was answered is kept"
            )
        return (
            f"it killed {TRIES_ALONE} processes that were asked about nothing else; leave it out, or give the "
            "processes more memory (--actor-memory) and --retry failed"
        )


def _caller(handle: Any) -> Callable[..., Any]:
    """A function that calls a method of another process by its name."""

    def call(method: str, *args: Any) -> Any:
        import ray

        return ray.get(getattr(handle, method).remote(*args))

    return call


def _check_alike(label: str, here: Mapping[str, Any], driver: Mapping[str, Any]) -> None:
    differ = [name for name in {**here, **driver} if _text(here.get(name)) != _text(driver.get(name))]
    if differ:
        name = differ[0]
        raise ConfigError(
            f"stage {label!r} is another one on {os.uname().nodename} than where the run was started: its {name} is "
            f"{_text(here.get(name)):.80}, not {_text(driver.get(name)):.80}; install the same packages and files on "
            "all machines"
        )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _bound_memory(most_bytes: int) -> None:
    """Refuse this process, and each that it starts, more private memory; the machine would run out of it instead."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def _pickled(error: Exception) -> bytes:
    try:
        found = pickle.dumps(error)
        pickle.loads(found)
    except Exception:  # an error of another library
        found = pickle.dumps(DataError(failure_reason(error)))
    return found
