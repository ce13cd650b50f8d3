"""Takes clips through the stages of a pipeline, asking only for the answers that the journal lacks."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from affectgpt.annotate.answer_journal import AnswerJournal, JournalEntry, key_of
from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.clip_state import ClipState
from affectgpt.annotate.pipeline import Pipeline, Step
from affectgpt.annotate.stage import Answer, ClipRecord, Stage, answer_or_reason
from affectgpt.errors import DataError
from affectgpt.files import digest_of
from affectgpt.media.isolation import Isolated
from affectgpt.registry import STAGES, Spec
from affectgpt.text import clean_text

log = logging.getLogger(__name__)

CLIPS_AT_A_TIME = 4096
"""Clips whose answers are in memory together."""
_MOST_UNSAVED, _UNSAVED_SECONDS = 256, 0.5
HOPELESS = 20
"""So many failures of a stage without a single answer in this run end it: the stage is broken, not the clips."""

Watch = Callable[[str, Answer, float], None]
"""Called with the stage, its answer and the seconds, as answers come in."""


@dataclass
class Walk:
    """Clips and the stages that they go through.

    Args:
        pipeline: The stages.
        journal: Where answers are kept.
        workers: Processes for stages that decode media; 0 runs them here.
        retry_failed: Whether stages that failed are asked again.
        watch: See ``Watch``.
        allow: Called before a stage is asked; raises where nothing may be spent any more.
    """

    pipeline: Pipeline
    journal: AnswerJournal
    workers: int = 0
    retry_failed: bool = False
    watch: Watch = lambda stage, answer, seconds: None
    allow: Callable[[Step], None] = lambda step: None
    surveyed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _answered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _retried: set[str] = field(default_factory=set)

    def run(self, clips: Sequence[SourceClip]) -> Iterator[ClipState]:
        """Take the clips through all stages, and yield where each ends; not in the order of the clips.

        Raises:
            DataError: If a stage has no answer for anything.
        """
        steps = self.pipeline.steps
        for number, step in enumerate(steps):
            if step.stage.surveys:
                states = (state for chunk in self.chunks(clips) for state in self.advance(chunk, number))
                arrived = (state.record_for(step.stage) for state in states if state.is_in)
                self.surveyed[step.label] = step.stage.survey(arrived)
        for chunk in self.chunks(clips):
            yield from self.advance(chunk, len(steps))

    def chunks(self, clips: Sequence[SourceClip]) -> Iterator[list[SourceClip]]:
        """The clips in groups that fit into memory: those of one file of the journal, or of several small ones."""
        groups = defaultdict[int, list[SourceClip]](list)
        for clip in clips:
            groups[self.journal.partition_of(clip.digest)].append(clip)
        chunk: list[SourceClip] = []
        for _, group in sorted(groups.items()):
            if chunk and len(chunk) + len(group) > CLIPS_AT_A_TIME:
                yield chunk
                chunk = []
            chunk += group
        if chunk:
            yield chunk

    def advance(self, clips: Sequence[SourceClip], num_steps: int) -> list[ClipState]:
        """Take some clips through the first stages."""
        known: dict[str, JournalEntry] = {}
        for partition in sorted({self.journal.partition_of(clip.digest) for clip in clips}):
            known |= self.journal.load(partition)
        states = [ClipState.begin(clip) for clip in clips]
        for step in self.pipeline.steps[:num_steps]:
            self._ask(step, [state for state in states if state.is_in], known)
        return states

    def identity_of(self, step: Step) -> dict[str, Any]:
        """All that decides the answers of a stage, with what it found out about the set."""
        found = {"stage": step.spec.name, **step.stage.identity()}
        return found | ({"surveyed": self.surveyed[step.label]} if step.label in self.surveyed else {})

    def identity_digests(self) -> set[str]:
        """Digests of the identities of all stages, as the journal holds them."""
        return {digest_of(self.identity_of(step)) for step in self.pipeline.steps}

    def _ask(self, step: Step, states: Sequence[ClipState], known: dict[str, JournalEntry]) -> None:
        """Give every clip the stage's answer, from the journal or from the stage."""
        identity = self.identity_of(step)
        waiting: dict[str, list[ClipState]] = {}  # copies of a clip share one answer
        for state in states:
            key = key_of(state.clip.digest, step.spec.name, identity, state.inputs_of(step.stage))
            entry = known.get(key)
            if entry is None or (self.retry_failed and entry.answer.status == "failed" and key not in self._retried):
                waiting.setdefault(key, []).append(state)
            else:
                state.take(step.label, entry.answer)
        self._retried |= waiting.keys()
        saver = _Saver(self.journal)
        keys = list(waiting)
        if keys:
            self.allow(step)
        started = time.perf_counter()
        try:
            records = (waiting[key][0].record_for(step.stage) for key in keys)
            for position, given in self._answers(step, records) if keys else ():
                answer = _checked(step, given)
                now = time.perf_counter()
                seconds, started = now - started, now
                twin = waiting[keys[position]]
                digest = twin[0].clip.digest
                entry = JournalEntry(keys[position], digest, step.label, digest_of(identity), answer, seconds)
                saver.add(entry)
                known[entry.key] = entry
                for state in twin:
                    state.take(step.label, answer)
                self.watch(step.label, answer, seconds)
                self._give_up_if_hopeless(step, answer)
        finally:
            saver.save()
        left = [twin[0].clip.key for twin in waiting.values() if step.label not in twin[0].passed]
        if left:
            raise DataError(f"stage {step.label!r} gave no answer for {len(left)} clips, such as {left[0]!r}")

    def _answers(self, step: Step, records: Iterator[ClipRecord]) -> Iterator[tuple[int, Answer]]:
        if not (step.stage.isolated and self.workers):
            yield from step.stage.answers(records)
            return
        spec = json.dumps(step.spec.to_json())
        with Isolated(_IsolatedStage(spec), self.workers, _crashed) as pool:
            yield from enumerate(pool.map(records))

    def _give_up_if_hopeless(self, step: Step, answer: Answer) -> None:
        counts = self._failed if answer.status == "failed" else self._answered
        counts[step.label] += 1
        if not self._answered[step.label] and self._failed[step.label] >= HOPELESS:
            raise DataError(
                f"stage {step.label!r} failed for all of the first {HOPELESS} clips, the last time with: "
                f"{answer.reason}. What was answered is kept: mend it, and run again with --retry failed"
            )


class _Saver:
    """Gathers cheap answers, so that they share a trip to the disk; what was paid for is written at once."""

    def __init__(self, journal: AnswerJournal) -> None:
        self._journal = journal
        self._entries: list[JournalEntry] = []
        self._saved = time.monotonic()

    def add(self, entry: JournalEntry) -> None:
        self._entries.append(entry)
        late = time.monotonic() - self._saved > _UNSAVED_SECONDS
        if entry.answer.usage.requests or late or len(self._entries) >= _MOST_UNSAVED:
            self.save()

    def save(self) -> None:
        if self._entries:
            self._journal.add(self._entries)
        self._entries, self._saved = [], time.monotonic()


@dataclass(frozen=True)
class _IsolatedStage:
    """A stage that another process builds for itself.

    Attributes:
        spec: Its name and arguments, as JSON.
    """

    spec: str

    def __call__(self, record: ClipRecord) -> Answer:
        return answer_or_reason(_built(self.spec), record)


@lru_cache(maxsize=4)
def _built(spec: str) -> Stage:
    stage: Stage = STAGES.build(Spec.of(json.loads(spec)))
    return stage


def _crashed(record: ClipRecord, how: str) -> Answer:
    return Answer.fail(f"decoding the clip killed its process ({how}); leave it out, or convert it")


def _checked(step: Step, answer: Answer) -> Answer:
    """The answer as plain JSON that the stage may give, or a failure that says what is wrong with it."""
    unknown = sorted(set(answer.fields) - set(step.stage.writes))
    if unknown:
        return Answer.fail(f"the stage wrote the field {unknown[0]!r}, which is not in its 'writes'", answer.usage)
    try:
        text = json.dumps(dict(answer.fields), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return Answer.fail(f"the stage wrote what is no plain JSON: {error}", answer.usage)
    reason = None if answer.reason is None else clean_text(answer.reason)
    return replace(answer, fields=json.loads(clean_text(text)), reason=reason)
