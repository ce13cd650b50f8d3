"""Lists the clips to annotate: those of a folder, of a manifest, or of shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.annotate.source_files import ClipMediaFiles, LooseFiles, ShardFiles
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import parse_json, write_lines
from affectgpt.manifests.manifest import survey_manifest
from affectgpt.manifests.record import Record, SampleError
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.facts import read_facts
from affectgpt.shards.index import INDEX_FILE, read_index
from affectgpt.shards.remote import is_remote


@dataclass(frozen=True)
class SourceClip:
    """A clip to annotate.

    Attributes:
        key: Its name, unique in the set.
        media: Its files.
        digest: Sha256 of their content, in hex.
        given: What it brings along: ``subtitle``, ``description``, ``labels``; those that are known.
        record: Its entry in the manifest; ``None`` for a clip out of a shard.
    """

    key: str
    media: ClipMediaFiles
    digest: str
    given: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None


@dataclass(frozen=True)
class SourceClips:
    """The clips to annotate.

    Attributes:
        clips: Those that can be read, in order.
        problems: What is wrong with the others.
        remarks: What a person should know: which file was taken as the manifest, which files belong to no clip.
        provenance: What the index of shards says of their origin.
    """

    clips: list[SourceClip]
    problems: list[SampleError]
    remarks: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def list_clips(
    source: str | Path, digests: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> SourceClips:
    """List the clips of a folder, a manifest or shards, each with the digest of its content.

    Args:
        source: See ``affectgpt.manifests.manifest.read_manifest``; or a folder or URL of shards that hold media.
        digests: A file that remembers digests by size and time of change, so that a file is read once.
        progress: Called with the number of clips that were read, and of all.

    Raises:
        ConfigError: If the shards hold no media.
        DataError: If there is no clip, or two have one name.
    """
    if is_remote(source) or (Path(source) / INDEX_FILE).is_file():
        return _of_shards(str(source), progress)
    scan = survey_manifest(source)
    known = _read_digests(digests)
    kept: dict[str, str] = {}
    clips, problems = [], list(scan.problems)
    for done, record in enumerate(scan.records):
        media = LooseFiles(record.video, record.audio, record.source_files)
        try:
            stamp = _stamp(record)
            digest = known.get(stamp) or media.digest()
        except OSError as error:
            message = f"clip {record.key!r}: its files cannot be read ({error}); check their paths"
            problems.append(SampleError(record.key, "manifest", "unreadable", message))
            continue
        kept[stamp] = digest
        clips.append(SourceClip(record.key, media, digest, _given(record.to_json()), record))
        progress(done + 1, len(scan.records))
    write_lines(digests, (json.dumps([stamp, digest]) for stamp, digest in kept.items()))
    return SourceClips(clips, problems, scan.remarks)


def _of_shards(source: str, progress: Callable[[int, int], None]) -> SourceClips:
    index = read_index(source)
    if index.form != "media":
        raise ConfigError(
            f"the shards at {index.location} hold {index.form}, but annotation looks at media; give shards that were "
            "packed with the original files (--form media)"
        )
    clips, problems, seen = [], [], set[str]()
    cache = ShardCache()
    for shard in index.shards:
        path = cache.path(index, shard)
        for position in range(shard.samples):
            media = ShardFiles(path, shard.samples, position)
            key, members = media.read()
            try:
                facts = read_facts(key, members)
            except DataError as error:
                problems.append(SampleError(key, "manifest", "unreadable", str(error)))
                continue
            if key in seen:
                raise DataError(f"two samples of {index.location} are called {key!r}; pack the set again")
            seen.add(key)
            clips.append(SourceClip(key, media, media.digest(), _given(facts)))
            progress(len(clips) + len(problems), index.samples)
    return SourceClips(clips, problems, provenance=index.provenance)


def _given(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: facts.get(name) for name in ("subtitle", "description", "labels")}
    return {name: value for name, value in found.items() if value}


def _stamp(record: Record) -> str:
    files = [path for path in (record.video, record.audio, *record.source_files.values()) if path is not None]
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return json.dumps(stamps)


def _read_digests(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return dict(_pairs(path))


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for line in file:
            try:
                stamp, digest = parse_json(line, str(path))
            except (DataError, ValueError, TypeError):  # the file only saves time
                continue
            if isinstance(stamp, str) and isinstance(digest, str):
                yield stamp, digest
