"""Runs a pipeline over clips: answers, decisions, shards and the data card, all in one folder that resumes."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from affectgpt.annotate.answer_journal import AnswerJournal
from affectgpt.annotate.clip_source import SourceClip, SourceClips, list_clips
from affectgpt.annotate.data_card import write_card
from affectgpt.annotate.data_set import LEFT_OUT_FILE, WRITE, write_left_out, write_set
from affectgpt.annotate.ledger import Ledger
from affectgpt.annotate.on_ray import RayDealer, RayPlan
from affectgpt.annotate.outcomes import ClipOutcome, OutcomeFile
from affectgpt.annotate.people import decided
from affectgpt.annotate.pipeline import Pipeline
from affectgpt.annotate.review_log import ReviewLog
from affectgpt.annotate.stage import Answer
from affectgpt.annotate.walk import Walk
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import new_file_mode, read_json, write_whole
from affectgpt.manifests.record import SampleError
from affectgpt.shards.remote import is_remote

WORK_FOLDER = "work"
OUTCOMES_FILE, DIGESTS_FILE, REVIEW_FILE = "work/outcomes.jsonl", "work/digests.jsonl", "review.jsonl"
CLIPS_FILE = "work/clips.json"

Progress = Callable[[str, int, int, str], None]
"""Called with what is done, how much of it, of how much, and a remark such as the cost so far."""


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes:
        outcomes: ``kept``, ``dropped``, ``person``, ``failed`` and ``unreadable`` to the number of clips.
        num_answers: Answers that stages gave in this run; the others were in the journal.
        num_samples: Clips in the shards.
        money: Money that was spent in this folder so far, in the currency of the prices; ``None`` without prices.
        tokens: Tokens that were spent in this folder so far.
        remarks: What a person should know of the clips' folder.
        card: The data card, as plain JSON.
    """

    outcomes: Mapping[str, int]
    num_answers: int
    num_samples: int
    money: float | None
    tokens: int
    remarks: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """What a run over all clips would take, from a sample.

    Attributes:
        num_sample: Clips of the sample.
        num_clips: All clips.
        outcomes: What became of the sample.
        seconds: Stage to seconds for all clips, answered one after the other as in the sample.
        tokens: Tokens for all clips.
        money: Money for all clips; ``None`` without prices.
        journal_bytes: Size of the journal for all clips.
        requests: Requests for all clips.
    """

    num_sample: int
    num_clips: int
    outcomes: Mapping[str, int]
    seconds: Mapping[str, float]
    tokens: int
    money: float | None
    journal_bytes: int
    requests: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "outcomes": dict(self.outcomes)}


def annotate(
    pipeline: Pipeline,
    clips: str | Path,
    out: str | Path,
    *,
    workers: int = 0,
    retry_failed: bool = False,
    samples_per_shard: int = 512,
    on_ray: RayPlan | None = None,
    progress: Progress = lambda title, done, total, remark: None,
) -> RunReport:
    """Annotate clips, and write what is kept as a data set.

    Every answer of every stage is in ``out/work/journal`` before the next is asked for, so that the same call goes on
    after a kill, asks only for what a changed pipeline needs anew, and ends in the same files.

    Args:
        pipeline: See ``read_pipeline``.
        clips: A folder, a manifest, or shards; see ``list_clips``.
        out: Folder to make or to go on with.
        workers: Processes that decode media; 0 decodes in this one. A script that asks for more must guard its main
            module with ``if __name__ == "__main__"``.
        retry_failed: Ask stages again that failed before.
        samples_per_shard: Most samples in a tar.
        on_ray: How the stages are spread over a Ray cluster; ``None`` asks them in this process. The data set is the
            same, and is written here.
        progress: See ``Progress``.

    Raises:
        ConfigError: If another process writes ``out``, Ray is not installed, or something about the pipeline is wrong.
        DataError: If there is no clip, or a stage has no answer for anything.
        CostBoundError: If the next request could pass the bound on the cost; what was answered is kept.
    """
    out = Path(out)
    with _locked(out):
        found = _listed(clips, out, progress)
        location = str(clips) if is_remote(clips) else str(Path(clips).resolve())
        write_whole(out / CLIPS_FILE, json.dumps({"clips": location}, ensure_ascii=False) + "\n")
        journal = AnswerJournal(out / WORK_FOLDER / "journal", pipeline.partitions)
        run = journal.begin_run()
        ledger = Ledger(pipeline, journal)
        count = _Count(len(found.clips) * len(pipeline.steps), ledger, progress)
        walk = Walk(pipeline, journal, workers, retry_failed, count, ledger.allow)
        with ExitStack() as stack:
            stack.enter_context(walk)
            if on_ray is not None:
                walk.ask_elsewhere = stack.enter_context(RayDealer(on_ray, run, ledger, count.tell))
            outcomes = OutcomeFile.write(out / OUTCOMES_FILE, walk.run(found.clips))
        review = ReviewLog(out / REVIEW_FILE)
        people = review.latest()

        def outcome_of(key: str) -> ClipOutcome:
            return decided(outcomes[key], people.get(key))

        written = write_set(
            out,
            found.clips,
            outcome_of,
            _provenance(pipeline, found),
            workers=workers,
            samples_per_shard=samples_per_shard,
            progress=lambda done, total: progress("writing", done, total, ""),
        )

        def final(clip: SourceClip) -> ClipOutcome:
            outcome = outcome_of(clip.key)
            problem = written.left_out.get(clip.key)
            return outcome if problem is None else outcome.with_outcome("failed", WRITE, str(problem))

        write_left_out(out / LEFT_OUT_FILE, _left_out(map(final, found.clips), found.problems))
        card = write_card(out, walk, map(final, found.clips), outcomes, found, ledger, review)
        outcomes.close()
    return RunReport(
        outcomes=card["outcomes"],
        num_answers=ledger.answers,
        num_samples=written.num_samples,
        money=ledger.money,
        tokens=ledger.tokens,
        remarks=found.remarks,
        card=card,
    )


def estimate(
    pipeline: Pipeline,
    clips: str | Path,
    out: str | Path,
    *,
    num_sample: int = 8,
    seed: int = 0,
    workers: int = 0,
    progress: Progress = lambda title, done, total, remark: None,
) -> Estimate:
    """Annotate a random sample of the clips, and tell what all of them would take.

    The answers stay in the journal, so that the sample is not paid for twice. No data set is written.

    Args:
        pipeline: See ``annotate``, as for the others.
        clips: See there.
        out: See there.
        num_sample: Clips of the sample.
        seed: Of the choice.
        workers: See there.
        progress: See there.
    """
    out = Path(out)
    if num_sample < 1:
        raise ConfigError(f"a sample of {num_sample} clips tells nothing; give a number from 1")
    with _locked(out):
        found = _listed(clips, out, progress)
        chosen = random.Random(seed).sample(found.clips, min(num_sample, len(found.clips)))
        journal = AnswerJournal(out / WORK_FOLDER / "journal", pipeline.partitions)
        ledger = Ledger(pipeline, journal)
        count = _Count(len(chosen) * len(pipeline.steps), ledger, progress)
        journal.begin_run()
        with Walk(pipeline, journal, workers, False, count, ledger.allow) as walk:
            states = list(walk.run(chosen))
        scale = len(found.clips) / max(1, len(chosen))
        sample = {clip.digest for clip in chosen}
        entries = [
            entry
            for partition in sorted({journal.partition_of(digest) for digest in sample})
            for entry in journal.load(partition).values()
            if entry.clip in sample and entry.identity in walk.identity_digests()
        ]
        seconds: dict[str, float] = {}
        for entry in entries:
            seconds[entry.stage] = seconds.get(entry.stage, 0.0) + entry.seconds
        usages = [(entry.stage, entry.answer.usage) for entry in entries]
        money = ledger.cost_of(usages)
        return Estimate(
            num_sample=len(chosen),
            num_clips=len(found.clips),
            outcomes=Counter(state.outcome for state in states),
            seconds={stage: value * scale for stage, value in seconds.items()},
            tokens=round(scale * sum(u.input_tokens + u.output_tokens for _, u in usages)),
            money=None if money is None else money * scale,
            journal_bytes=round(scale * sum(len(entry.to_line().encode()) + 1 for entry in entries)),
            requests=round(scale * sum(u.requests for _, u in usages)),
        )


def annotated_clips(out: Path, clips: str | Path | None = None) -> dict[str, SourceClip]:
    """The clips that were annotated into a folder, by their names.

    Args:
        out: The folder.
        clips: Where they are now; by default where they were.

    Raises:
        DataError: If they are not there, or the folder does not say where they were.
    """
    if clips is None:
        path = out / CLIPS_FILE
        said = read_json(path, most_bytes=100_000) if path.is_file() else None
        clips = said.get("clips") if isinstance(said, dict) else None
        if not isinstance(clips, str):
            raise DataError(f"{str(path)!r} does not say where the clips of {str(out)!r} are; give --clips")
    found = list_clips(clips, out / DIGESTS_FILE)
    return {clip.key: clip for clip in found.clips}


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    work = out / WORK_FOLDER
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock", timeout=0, mode=new_file_mode())
    try:
        with lock:
            yield
    except Timeout:
        raise ConfigError(f"another process writes {str(out)!r}; wait for it, or choose another folder") from None


def _listed(clips: str | Path, out: Path, progress: Progress) -> SourceClips:
    found = list_clips(clips, out / DIGESTS_FILE, lambda done, total: progress("reading the clips", done, total, ""))
    if not found.clips:
        first = f", the first: {found.problems[0]}" if found.problems else ""
        raise DataError(f"there is no clip to annotate in {str(clips)!r}{first}")
    return found


def _provenance(pipeline: Pipeline, found: SourceClips) -> dict[str, Any]:
    told = {"source": pipeline.source, "licence": pipeline.licence}
    inherited = {name: value for name, value in found.provenance.items() if value}
    return {**inherited, **{name: value for name, value in told.items() if value}, "pipeline": pipeline.name}


def _left_out(outcomes: Iterator[ClipOutcome], problems: Sequence[SampleError]) -> Iterator[dict[str, Any]]:
    for problem in problems:
        yield {"key": problem.key, "outcome": "unreadable", "stage": problem.stage, "reason": str(problem)}
    for outcome in outcomes:
        if outcome.outcome != "kept":
            reason = outcome.reasons.get(outcome.stage or "", "")
            line: dict[str, Any] = {"key": outcome.key, "outcome": outcome.outcome, "stage": outcome.stage}
            yield line | {"reason": reason, "reasons": dict(outcome.reasons)}


class _Count:
    """Counts answers and tells how far the run is."""

    def __init__(self, most: int, ledger: Ledger, progress: Progress) -> None:
        self._most, self._ledger, self._progress = most, ledger, progress

    def __call__(self, stage: str, answer: Answer, seconds: float) -> None:
        self._ledger.count(stage, answer.usage, seconds)
        self.tell(0, f"{stage}{self._ledger.told()}")

    def tell(self, elsewhere: int, remark: str) -> None:
        """Tell how far the run is, with the number of answers that the ledger does not know yet."""
        self._progress("annotating", self._ledger.answers + elsewhere, self._most, remark)
