"""Takes the raw set through the stages of annotation, one pipeline for each row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning import BASIC, SENTIMENT

from affectgpt.annotate.answer_journal import AnswerJournal
from affectgpt.annotate.clip_source import list_clips
from affectgpt.annotate.describe.label_reader import LabelsStage
from affectgpt.annotate.filters.agreement import AgreementStage
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.annotate.stage import ClipRecord
from affectgpt.annotate.walk import Walk
from affectgpt.demo.corpus.states import STATES

LOW_LEVEL = (
    {"name": "description-length", "args": {"low": 0.03, "high": 0.97, "least": 20}},
    {"name": "voice"},
)
"""The planted lengths are the first and last 2.5 % of the set; cuts just there would leave some of them in."""
SINGLE, HALF = "low + E + S, one classifier", "low + E + S, half of the wheels"
AGREEMENT: Mapping[str, Mapping[str, Any]] = {
    "low + E": {"criterion": "E"},
    "low + S": {"criterion": "S"},
    "low + E + S": {"criterion": "E+S"},
    SINGLE: {"criterion": "E+S"},
    HALF: {"criterion": "E+S", "least_wheels": 0.5},
}
"""Rows to how their descriptions must agree with the vote; SINGLE is the first classifier of each kind alone."""
PIPELINES = ("none", "low", *AGREEMENT)
_NOBODY_TO_ASK: Mapping[str, Any] = {"on_disagreement": "drop", "on_no_vote": "drop"}
Voters = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Sifted:
    """What a pipeline makes of the raw set.

    Attributes:
        labels: Name of each clip that is kept, in order, to the labels that were read out of its description.
        votes: Name to the emotion that won the vote, for every clip that came to it.
    """

    labels: Mapping[str, tuple[str, ...]]
    votes: Mapping[str, str | None]


def stages_of(row: str, voters: Voters, media: Mapping[str, Any]) -> list[Any]:
    """The stages of a row.

    Args:
        row: A name in ``PIPELINES``.
        voters: ``emotion`` and ``sentiment`` to paths of checkpoints.
        media: What they see and hear of a clip.
    """
    stages: list[Any] = ["labels"]
    if row != "none":
        stages += LOW_LEVEL
    if row in AGREEMENT:
        number = 1 if row == SINGLE else None
        chosen = {kind: list(paths)[:number] for kind, paths in voters.items()}
        stages.append({"name": "vote", "args": {**chosen, "media": dict(media)}})
        stages.append({"name": "agreement", "args": {**AGREEMENT[row], **_NOBODY_TO_ASK}})
    return stages


def sift(row: str, manifest: Path, voters: Voters, media: Mapping[str, Any], folder: Path, workers: int) -> Sifted:
    """Take a manifest's clips through the pipeline of a row; an answer that a row before it got is not asked for again.

    Raises:
        RuntimeError: If a stage fails for a clip.
    """
    pipeline = make_pipeline({"name": row, "stages": stages_of(row, voters, media)})
    source = list_clips(manifest, manifest.with_name("digests.jsonl"))
    journal = AnswerJournal(folder / "journal", pipeline.partitions)
    walk = Walk(pipeline, journal, workers if workers > 1 else 0)
    ended = {state.clip.key: state for state in walk.run(source.clips)}
    failed = [f"{key}: {state.reasons}" for key, state in ended.items() if state.outcome == "failed"]
    if failed or source.problems:
        first = (failed or source.problems)[0]
        raise RuntimeError(f"{row}: {len(failed) + len(source.problems)} clips failed, the first: {first}")
    states = [ended[clip.key] for clip in source.clips]
    return Sifted(
        labels={state.clip.key: tuple(state.fields["labels"]) for state in states if state.outcome == "kept"},
        votes={state.clip.key: state.fields["vote_emotion"] for state in states if "vote" in state.passed},
    )


def removed_at_best(row: str) -> float:
    """Share of wrong descriptions that a vote which is always right would remove: the others name the same group.

    Every state of the corpus is given the description of each other one.
    """
    reader, judge = LabelsStage(), AgreementStage(**AGREEMENT[row], **_NOBODY_TO_ASK)
    told = {}
    for state in STATES:
        record = ClipRecord(state.name, {"description": state.describe("Here we are again.")}, LooseFiles(None, None))
        told[state.name] = reader.answer(record).fields
    pairs = [(state.name, other.name) for state in STATES for other in STATES if other is not state]
    passed = 0
    for own, other in pairs:
        votes = {"vote_emotion": BASIC[own], "vote_sentiment": SENTIMENT[own]}
        passed += judge.answer(ClipRecord(own, {**told[other], **votes}, LooseFiles(None, None))).status == "done"
    return 1 - passed / len(pairs)
