"""Has stages asked by the processes of a Ray cluster; the journal says what is left, and Ray only deals out work."""

from __future__ import annotations

import os
import pickle
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from affectgpt.annotate.actor_deaths import ActorDeaths
from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.ledger import Ledger
from affectgpt.annotate.ray_actor import ActorJob, AnnotationActor
from affectgpt.annotate.shared_budget import Purse, left_to_spend
from affectgpt.annotate.walk import Walk
from affectgpt.errors import ConfigError, DataError, reason_of

LEAST_BYTES = 2**30
_SHARE_OF_NODE = 0.9


@dataclass(frozen=True)
class RayPlan:
    """How the work is spread over a cluster.

    Attributes:
        actors: Processes that hold the models; ``None`` for as many as there is room for now.
        cpus: Cores of each; as many processes decode for it.
        gpus: GPUs of each, or a share of one.
        memory_bytes: Bound on the memory of each; ``None`` for an equal share of its machine's.

    Raises:
        ConfigError: If a number is too small.
    """

    actors: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if (self.actors is not None and self.actors < 1) or self.cpus < 1 or self.gpus < 0:
            raise ConfigError(
                f"actors is {self.actors}, cpus {self.cpus}, gpus {self.gpus}; give an actor and a core at least"
            )
        if self.memory_bytes is not None and self.memory_bytes < LEAST_BYTES:
            raise ConfigError(
                f"an actor may take {self.memory_bytes:,} bytes, but needs {LEAST_BYTES:,} before it holds a model"
            )


class RayDealer:
    """Deals the files of the journal that lack answers out to actors; for ``Walk.ask_elsewhere``.

    Args:
        plan: How the work is spread.
        run: See ``AnswerJournal.begin_run``.
        ledger: Says what may be spent, and is brought up to date.
        watch: Called with a title, what is done and what remains to say while answers come in.

    Raises:
        ConfigError: If Ray is not installed.
    """

    def __init__(self, plan: RayPlan, run: str, ledger: Ledger, watch: Callable[[int, str], None]) -> None:
        try:
            import ray.data
        except ImportError as error:
            raise ConfigError(f"--on ray needs Ray ({error}); run pip install 'affectgpt[ray]'") from error
        self._ray: Any = ray
        self._plan, self._run, self._ledger, self._watch = plan, run, ledger, watch
        self._began_ray = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._began_ray:
            self._ray.shutdown()

    def __call__(self, walk: Walk, clips: Sequence[SourceClip], num_steps: int) -> None:
        """Put the answers of the first stages into the journal.

        Raises:
            AffectGPTError: What an actor met that ends the run.
        """
        groups = defaultdict[int, list[SourceClip]](list)
        for clip in clips:
            groups[walk.journal.partition_of(clip.digest)].append(clip)
        left = {number: group for number, group in sorted(groups.items()) if walk.lacks_answers(group, num_steps)}
        if left:
            self._deal(walk, left, num_steps)
            self._ledger.recount()
        walk.retry_from = num_steps

    def _deal(self, walk: Walk, left: Mapping[int, list[SourceClip]], num_steps: int) -> None:
        ray = self._ray
        self._begin_ray()
        room, memory_bytes = _room(ray.nodes(), self._plan)
        actors = min(self._plan.actors or room, len(left))
        steps = walk.pipeline.steps[:num_steps]
        job = ActorJob(
            folder=str(Path.cwd()),
            journal=str(walk.journal.folder.resolve()),
            run=self._run,
            pipeline=walk.pipeline.stages_json(),
            surveyed=walk.surveyed,
            identities={step.label: walk.identity_of(step) for step in steps},
            num_steps=num_steps,
            retry=(walk.retry_failed, walk.retry_from),
            actors=actors,
            cores=self._plan.cpus,
            memory_bytes=self._plan.memory_bytes or memory_bytes,
        )
        purse = ray.remote(num_cpus=0)(Purse).remote(left_to_spend(self._ledger), self._ledger.own_bounds)
        deaths = ray.remote(num_cpus=0)(ActorDeaths).remote(actors)
        rows = [{"partition": number, "clips": pickle.dumps(group)} for number, group in left.items()]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            AnnotationActor,
            fn_constructor_args=(job, purse, deaths),
            concurrency=actors,
            num_cpus=self._plan.cpus,
            num_gpus=self._plan.gpus,
            memory=job.memory_bytes,
            max_restarts=-1,  # when to give up is for ActorDeaths to say
            max_task_retries=-1,
        )
        number = 0
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])
                number += int(row["answers"])
                self._watch(number, f"on {actors} actors, partition {row['partition']} is done")
        except (ray.exceptions.RayError, MemoryError) as error:
            raise DataError(
                f"Ray ended the run: {reason_of(error)}. What was answered is kept: run again to go on"
            ) from error

    def _begin_ray(self) -> None:
        """Join the cluster that RAY_ADDRESS names, or start one on this machine."""
        if not self._ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report its use to its makers
            try:
                self._ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")
            except Exception as error:  # Ray raises bare ones where a cluster cannot be joined or started
                raise ConfigError(
                    f"Ray cannot be started or joined: {reason_of(error)}; check RAY_ADDRESS, the cluster's token "
                    "(RAY_AUTH_TOKEN), and the load of this machine (RAY_raylet_start_wait_time_s lets Ray wait longer)"
                ) from error
            self._began_ray = True
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False


def _room(nodes: Sequence[Mapping[str, Any]], plan: RayPlan) -> tuple[int, int]:
    """How many actors a cluster has room for now, and the memory that each can have."""
    number, memory = 0, sys.maxsize
    for node in nodes:
        has: Mapping[str, float] = node["Resources"] if node["Alive"] else {}
        here = int(has.get("CPU", 0) // plan.cpus)
        if plan.gpus:
            here = min(here, int(has.get("GPU", 0) / plan.gpus))
        if here:
            number += here
            memory = min(memory, int(_SHARE_OF_NODE * has.get("memory", 0) / min(here, plan.actors or here)))
    if not number:
        raise ConfigError(
            f"no machine of the Ray cluster has {plan.cpus} cores"
            + (f" and {plan.gpus:g} GPUs" if plan.gpus else "")
            + " for an actor; ask for fewer"
        )
    if plan.memory_bytes is None and memory < LEAST_BYTES:
        raise ConfigError(
            f"a machine of the Ray cluster has {memory:,} bytes for each actor, which is too little; give --actors"
        )
    return number, memory
