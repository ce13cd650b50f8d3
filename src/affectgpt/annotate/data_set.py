"""Writes the clips that stay as shards with a manifest, and lists every clip that does not, with the reason."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.source_files import ShardFiles
from affectgpt.annotate.stage import GIVEN_FIELDS
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of, draft
from affectgpt.manifests.record import Record, SampleError
from affectgpt.media.isolation import map_in_order
from affectgpt.shards.facts import read_facts
from affectgpt.shards.index import INDEX_FILE, read_index
from affectgpt.shards.probe import Prepare, crashed
from affectgpt.shards.tar_writer import Sample
from affectgpt.shards.write import ShardWriter
from affectgpt.text import clean_text

SHARDS_FOLDER, MANIFEST_FILE, LEFT_OUT_FILE = "shards", "manifest.jsonl", "left_out.jsonl"
WRITE = "write"
"""The name under which faults of writing stand beside the stages."""
_PREPARE = Prepare()


@dataclass(frozen=True)
class WrittenSet:
    """What was written.

    Attributes:
        num_samples: Clips in the shards.
        left_out: Clips that stayed out only because they could not be written, by name.
    """

    num_samples: int
    left_out: Mapping[str, SampleError]


def write_set(
    out: Path,
    clips: Sequence[SourceClip],
    outcome_of: Callable[[str], ClipOutcome],
    provenance: Mapping[str, Any],
    *,
    workers: int = 0,
    samples_per_shard: int = 512,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> WrittenSet:
    """Write the kept clips into ``out``; the same decisions give the same files, byte for byte.

    Args:
        out: Folder that gets ``shards/``, ``manifest.jsonl`` and ``left_out.jsonl``.
        clips: All clips, in order.
        outcome_of: What became of a clip, by its name.
        provenance: For the index of the shards.
        workers: Processes that decode clips as a last test.
        samples_per_shard: Most samples in a tar.
        progress: Called with the number of clips that were written, and of all.
    """
    kept = [clip for clip in clips if outcome_of(clip.key).outcome == "kept"]
    identities = [digest_of([clip.key, clip.digest, _facts_of(outcome_of(clip.key))]) for clip in kept]
    of_all = digest_of([identities, samples_per_shard, dict(provenance)])
    shards = out / SHARDS_FOLDER
    problems = _up_to_date(shards, of_all)
    if problems is None:
        problems = _write_shards(
            shards,
            kept,
            outcome_of,
            identities,
            {**provenance, "annotation": of_all},
            workers,
            samples_per_shard,
            progress,
        )
    written = [clip for clip in kept if clip.key not in problems]
    _write_manifest(out / MANIFEST_FILE, written, outcome_of)
    return WrittenSet(len(written), problems)


def write_left_out(path: Path, lines: Iterator[Mapping[str, Any]]) -> int:
    """List the clips that are not in the set, one JSON object a line; returns their number."""
    number = 0
    with draft(path) as file, file.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(clean_text(json.dumps(dict(line), ensure_ascii=False)) + "\n")
            number += 1
    return number


def _up_to_date(shards: Path, digest: str) -> dict[str, SampleError] | None:
    """The rejects of shards that hold just this; ``None`` where they must be written."""
    if not (shards / INDEX_FILE).is_file():
        return None
    try:
        if read_index(shards).provenance.get("annotation") != digest:
            return None
        lines = (shards / "rejects.jsonl").read_text("utf-8").splitlines()
        found = [SampleError.of(json.loads(line)) for line in lines]
    except (DataError, OSError, ValueError, KeyError, TypeError):
        return None
    return {problem.key: problem for problem in found}


def _write_shards(
    shards: Path,
    kept: Sequence[SourceClip],
    outcome_of: Callable[[str], ClipOutcome],
    identities: Sequence[str],
    provenance: Mapping[str, Any],
    workers: int,
    samples_per_shard: int,
    progress: Callable[[int, int], None],
) -> dict[str, SampleError]:
    settings = {"annotation": provenance["annotation"]}
    options: dict[str, Any] = {"samples_per_shard": samples_per_shard, "settings": settings, "overwrite": True}
    problems: dict[str, SampleError] = {}
    with ExitStack() as stack:
        try:
            writer = stack.enter_context(ShardWriter(shards, **options))
        except ConfigError:  # an unfinished packing of other decisions
            writer = stack.enter_context(ShardWriter(shards, **options, restart=True))
        begun = writer.resume(identities)
        jobs = ((clip, outcome_of(clip.key)) for clip in kept[begun:])
        for number, sample in enumerate(map_in_order(_sample, jobs, workers, _crashed), start=begun):
            if isinstance(sample, Sample):
                try:
                    writer.write(sample, identities[number])
                except SampleError as problem:
                    sample = problem
            if isinstance(sample, SampleError):
                writer.reject(sample, identities[number])
                problems[sample.key] = sample
            progress(number + 1, len(kept))
        try:
            _, listed, _ = writer.finish(provenance)
        except DataError:
            if len(problems) < len(kept):
                raise
            listed = tuple(problems.values())  # nothing is left to write
            if (shards / INDEX_FILE).is_file():
                shutil.rmtree(shards)
    return {problem.key: problem for problem in listed}


def _sample(job: tuple[SourceClip, ClipOutcome]) -> Sample | SampleError:
    clip, outcome = job
    facts = _facts_of(outcome)
    if not (facts["labels"] or facts["description"]):
        message = f"clip {clip.key!r} got neither labels nor a description, so there is nothing to learn from it"
        return SampleError(clip.key, WRITE, "unlabelled", message)
    try:
        if clip.record is not None:
            return _PREPARE(_described(clip.record, facts))
        assert isinstance(clip.media, ShardFiles)
        key, members = clip.media.read()
        found = read_facts(key, members)
        extra = {**(found.get("extra") or {}), **facts["extra"]}
        return Sample(
            key, {name: members[name] for name in members if name != "json"}, {**found, **facts, "extra": extra}
        )
    except Exception as error:  # whatever one clip provokes is that clip's row
        message = f"clip {clip.key!r} cannot be written ({type(error).__name__}: {error})"
        return SampleError(clip.key, WRITE, "unreadable", message)


def _crashed(job: tuple[SourceClip, ClipOutcome], how: str) -> SampleError:
    clip, _ = job
    return crashed(clip.record or Record(clip.key), how)


def _described(record: Record, facts: Mapping[str, Any]) -> Record:
    return replace(
        record,
        subtitle=facts["subtitle"],
        labels=tuple(facts["labels"]),
        description=facts["description"],
        extra={**record.extra, **facts["extra"]},
    )


def _facts_of(outcome: ClipOutcome) -> dict[str, Any]:
    """What a sample says: subtitle, labels, description, and all the rest of what the stages wrote."""
    fields = dict(outcome.fields)
    subtitle = fields.get("subtitle") or fields.get("transcript") or None
    rest = {name: value for name, value in sorted(fields.items()) if name not in GIVEN_FIELDS}
    replaced = {n: v for n, v in outcome.given.items() if n in ("labels", "description") and fields.get(n) != v}
    extra = {"annotation": rest} | ({"given": replaced} if replaced else {})
    if outcome.reasons:
        extra["annotation_notes"] = dict(outcome.reasons)
    labels = [str(label) for label in fields.get("labels") or ()]
    return {"subtitle": subtitle, "labels": labels, "description": fields.get("description"), "extra": extra}


def _write_manifest(path: Path, clips: Sequence[SourceClip], outcome_of: Callable[[str], ClipOutcome]) -> None:
    """A manifest of the kept clips; files are named relative to it, so that it can be packed again."""
    with draft(path) as file, file.open("w", encoding="utf-8") as out:
        for clip in clips:
            facts = _facts_of(outcome_of(clip.key))
            line: dict[str, Any] = {"name": clip.key}
            if clip.record is not None:
                files = {name: getattr(clip.record, name) for name in ("video", "audio", "faces")}
                files |= clip.record.source_files
                line |= {
                    name: os.path.relpath(found, path.parent) for name, found in files.items() if found is not None
                }
            line |= {name: facts[name] for name in ("subtitle", "labels", "description") if facts[name]}
            out.write(clean_text(json.dumps(line, ensure_ascii=False)) + "\n")
