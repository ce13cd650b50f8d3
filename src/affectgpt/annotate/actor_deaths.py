"""Tells a clip that kills every process that asks about it from processes that die by chance."""

from __future__ import annotations

from collections import Counter
from typing import Literal

TRIES_TOGETHER = 2
"""So often a file of the journal is begun before its clips are asked about one at a time."""
TRIES_ALONE = 2
"""A clip that was asked about alone so often, and killed the process each time, is given up."""
MOST_IN_A_ROW = 5
"""So many clips of a file, given up without an answer in between, end the run: the stage is broken, not the clips."""
MOST_STARTS = 4
"""So many starts for each actor, without one that comes as far as its first clip, end the run."""

Advice = Literal["ask", "give up", "end the run"]


class ActorDeaths:
    """Counts what the actors of a run begin; what is begun again was under way when its process died.

    One process of the cluster holds it and the actors call it, so that it outlives them.

    Args:
        actors: Processes of the run.
    """

    def __init__(self, actors: int) -> None:
        self._most_starts, self._starts = MOST_STARTS * actors, 0
        self._begun, self._asked, self._given_up = Counter[int](), Counter[str](), Counter[int]()
        self._under_way = set[int]()

    def start(self) -> bool:
        """Called by an actor before it loads models; whether it should, since some that did so lived to work."""
        self._starts += 1
        return self._starts <= self._most_starts

    def begin(self, partition: int) -> bool:
        """Called by an actor that begins a file of the journal; whether it asks about one clip at a time."""
        self._starts = 0
        self._begun[partition] += 1
        self._under_way.discard(partition)  # its process is dead
        return self._begun[partition] > TRIES_TOGETHER

    def ask(self, partition: int, key: str) -> Advice:
        """Called before a stage is asked about one clip alone.

        Args:
            partition: The file of the journal.
            key: Of the answer; see ``affectgpt.annotate.answer_journal.key_of``.
        """
        if partition in self._under_way:  # the clip before has its answer
            self._under_way.remove(partition)
            self._given_up[partition] = 0
        if self._asked[key] < TRIES_ALONE:
            self._asked[key] += 1
            self._under_way.add(partition)
            return "ask"
        self._given_up[partition] += 1
        return "give up" if self._given_up[partition] < MOST_IN_A_ROW else "end the run"
