"""Takes clips through the stages of a pipeline, asking only for the answers that the journal lacks."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from affectgpt.annotate.answer_journal import AnswerJournal, JournalEntry, key_of
from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.clip_state import ClipState
from affectgpt.annotate.pipeline import Pipeline, Step
from affectgpt.annotate.stage import Answer, ClipRecord, Stage, Usage, answer_or_reason
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
    """Clips and the stages that they go through; ``close`` ends the processes that decode for it.

    Args:
        pipeline: The stages.
        journal: Where answers are kept.
        workers: Processes for stages that decode media; 0 runs them here.
        retry_failed: Whether stages that failed are asked again.
        watch: See ``Watch``.
        allow: Called before a stage is asked; raises where nothing may be spent any more.
        ask_elsewhere: Called with this walk, the clips and a number of stages, before the clips go through these stages
            here; it may have other machines put answers into the journal.
        retry_from: Position of the first stage that ``retry_failed`` is for; those before it were retried in this run.
        give_up: Called with the key of an answer before a stage is asked for it with nothing else under way; returns
            why it is not asked, or ``None``. Without such a function stages are asked for several at a time.
        surveyed: Stage to what it found out about the whole set.
    """

    pipeline: Pipeline
    journal: AnswerJournal
    workers: int = 0
    retry_failed: bool = False
    watch: Watch = lambda stage, answer, seconds: None
    allow: Callable[[Step], None] = lambda step: None
    ask_elsewhere: Callable[[Walk, Sequence[SourceClip], int], None] = lambda walk, clips, num_steps: None
    retry_from: int = 0
    give_up: Callable[[str], str | None] | None = None
    surveyed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _answered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _identities: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _pool: Isolated[_Job, Answer] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that decode."""
        if self._pool is not None:
            self._pool.__exit__()
        self._pool = None

    def run(self, clips: Sequence[SourceClip]) -> Iterator[ClipState]:
        """Take the clips through all stages, and yield where each ends; not in the order of the clips.

        Raises:
            DataError: If a stage has no answer for anything.
        """
        for number, step in enumerate(self.pipeline.steps):
            if step.stage.surveys:
                states = self._through(clips, number)
                arrived = (state.record_for(step.stage) for state in states if state.is_in)
                self.tell_surveyed(step, step.stage.survey(arrived))
        yield from self._through(clips, len(self.pipeline.steps))

    def tell_surveyed(self, step: Step, found: Mapping[str, Any]) -> None:
        """Let a stage know what it, or another process for it, found out about the whole set."""
        self.surveyed[step.label] = step.stage.surveyed = found

    def _through(self, clips: Sequence[SourceClip], num_steps: int) -> Iterator[ClipState]:
        self.ask_elsewhere(self, clips, num_steps)
        for chunk in self.chunks(clips):
            yield from self.advance(chunk, num_steps)
        self.retry_from = num_steps

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
        known = self._known(clips)
        states = [ClipState.begin(clip) for clip in clips]
        for number, step in enumerate(self.pipeline.steps[:num_steps]):
            waiting = self._waiting(number, [state for state in states if state.is_in], known)
            give_up = self.give_up
            if waiting and give_up is None:
                self._ask(step, waiting, known)
            elif waiting and give_up is not None:
                self._ask_one_by_one(step, waiting, known, give_up)
        return states

    def lacks_answers(self, clips: Sequence[SourceClip], num_steps: int) -> bool:
        """Whether ``advance`` would ask a stage anything."""
        known = self._known(clips)
        states = [ClipState.begin(clip) for clip in clips]
        return any(self._waiting(n, [s for s in states if s.is_in], known) for n in range(num_steps))

    def identity_of(self, step: Step) -> dict[str, Any]:
        """All that decides the answers of a stage, with what it found out about the set."""
        if step.label not in self._identities:  # some digest the files of a model
            self._identities[step.label] = dict(step.stage.identity())
        found = {"stage": step.spec.name, **self._identities[step.label]}
        return found | ({"surveyed": self.surveyed[step.label]} if step.label in self.surveyed else {})

    def identity_digests(self) -> set[str]:
        """Digests of the identities of all stages, as the journal holds them."""
        return {digest_of(self.identity_of(step)) for step in self.pipeline.steps}

    def _known(self, clips: Sequence[SourceClip]) -> dict[str, JournalEntry]:
        known: dict[str, JournalEntry] = {}
        for partition in sorted({self.journal.partition_of(clip.digest) for clip in clips}):
            known |= self.journal.load(partition)
        return known

    def _waiting(
        self, number: int, states: Sequence[ClipState], known: Mapping[str, JournalEntry]
    ) -> dict[str, list[ClipState]]:
        """Let clips go on by the answers in the journal; the others, by the key of the answer that they wait for."""
        step = self.pipeline.steps[number]
        identity = self.identity_of(step)
        retry = self.retry_failed and number >= self.retry_from
        waiting: dict[str, list[ClipState]] = {}  # copies of a clip share one answer
        for state in states:
            key = key_of(state.clip.digest, step.spec.name, identity, state.inputs_of(step.stage))
            entry = known.get(key)
            if entry is None or (retry and entry.answer.status == "failed"):
                waiting.setdefault(key, []).append(state)
            else:
                state.take(step.label, entry.answer)
        return waiting

    def _ask(self, step: Step, waiting: Mapping[str, list[ClipState]], known: dict[str, JournalEntry]) -> None:
        """Ask the stage for answers, write them down, and let the clips go on by them."""
        identity = self.identity_of(step)
        saver = _Saver(self.journal)
        keys = list(waiting)
        self.allow(step)
        started = time.perf_counter()
        paid_before, told = _paid(step), Usage()
        answers = self._answers(step, (waiting[key][0].record_for(step.stage) for key in keys))
        try:
            for position, given in answers:
                answer = _checked(step, given)
                told += answer.usage
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
            answers.close()  # waits for what is under way
            paid = _paid(step)
            lost = Usage(0, *(now - then - one for now, then, one in zip(paid, paid_before, told.tokens, strict=True)))
            if lost.input_tokens > 0 or lost.output_tokens > 0:  # the run ends before what was paid for is an answer
                no_answer = Answer.fail("it was paid for, and the run ended before it was an answer", lost)
                digest = waiting[keys[0]][0].clip.digest
                saver.add(JournalEntry(uuid.uuid4().hex, digest, step.label, digest_of(identity), no_answer, 0.0))
            saver.save()
        left = [twin[0].clip.key for twin in waiting.values() if step.label not in twin[0].passed]
        if left:
            raise DataError(f"stage {step.label!r} gave no answer for {len(left)} clips, such as {left[0]!r}")

    def _ask_one_by_one(
        self,
        step: Step,
        waiting: Mapping[str, list[ClipState]],
        known: dict[str, JournalEntry],
        give_up: Callable[[str], str | None],
    ) -> None:
        """Ask the stage with nothing else under way, so that what kills this process has a name."""
        for key, twin in waiting.items():
            reason = give_up(key)
            if reason is None:
                self._ask(step, {key: twin}, known)
                continue
            answer, digest = Answer.fail(reason), twin[0].clip.digest
            known[key] = JournalEntry(key, digest, step.label, digest_of(self.identity_of(step)), answer, 0.0)
            self.journal.add([known[key]])
            for state in twin:
                state.take(step.label, answer)
            self.watch(step.label, answer, 0.0)

    def _answers(self, step: Step, records: Iterator[ClipRecord]) -> Generator[tuple[int, Answer]]:
        if not (step.stage.isolated and self.workers):
            yield from step.stage.answers(records)
            return
        if self._pool is None:
            self._pool = Isolated(_answer_apart, self.workers, _crashed)
        spec, surveyed = json.dumps(step.spec.to_json()), step.stage.surveyed
        yield from enumerate(self._pool.map((spec, surveyed, record) for record in records))

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


def _paid(step: Step) -> tuple[int, int]:
    """Tokens that the server of a stage has read and written in this process."""
    server = step.stage.server
    return (0, 0) if server is None else (server.budget.prompt_tokens, server.budget.answer_tokens)


_Job = tuple[str, Mapping[str, Any] | None, ClipRecord]
"""A stage as JSON of its name and arguments, what it found out about the set, and a clip."""


def _answer_apart(job: _Job) -> Answer:
    """The answer of a stage in a process that builds it for itself."""
    spec, surveyed, record = job
    stage = _built(spec)
    stage.surveyed = surveyed
    return answer_or_reason(stage, record)


@lru_cache(maxsize=4)
def _built(spec: str) -> Stage:
    stage: Stage = STAGES.build(Spec.of(json.loads(spec)))
    return stage


def _crashed(job: _Job, how: str) -> Answer:
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
