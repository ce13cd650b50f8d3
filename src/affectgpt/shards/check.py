"""Verifies a shard folder against its index, sample by sample, and summarises its content."""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from affectgpt.errors import AffectGPTError, DataError
from affectgpt.files import digest_of_file
from affectgpt.manifests.record import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import SOURCES
from affectgpt.registry.builtin_parts import SOURCE_TABLE
from affectgpt.shards.bounds import MAX_MEMBER_BYTES
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.facts import read_facts
from affectgpt.shards.forms.features import FEATURES_SUFFIX, FeatureRecipe
from affectgpt.shards.index import ShardIndex, ShardInfo, read_index, read_index_alone
from affectgpt.shards.journal import Counts
from affectgpt.shards.read import load_sample, split_name
from affectgpt.shards.remote import is_remote
from affectgpt.shards.tar_headers import scan_members
from affectgpt.shards.write import REJECTS_FILE
from affectgpt.web import strip_secrets


@dataclass(frozen=True)
class Fault:
    """One fault of a shard folder.

    Attributes:
        shard: Name of the tar, or ``index.json``.
        key: Key of the sample; empty for a fault of the whole tar.
        code: One word for the kind of fault.
        message: What was found, and what was expected.
    """

    shard: str
    key: str
    code: str
    message: str


@dataclass(frozen=True)
class ShardCheck:
    """The result of checking a shard folder.

    Attributes:
        index: The index.
        counts: The sums over the samples that were read.
        samples: Number of samples that were read.
        faults: All faults.
        missing: Reason why a modality is missing (``audio: the file has no audio track``) to the number of samples.
        rejects: Code of a fault for which packing left samples out, to their number.
    """

    index: ShardIndex
    counts: Counts
    samples: int
    faults: tuple[Fault, ...]
    missing: Mapping[str, int]
    rejects: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the content of ``check.json``."""
        return {
            "folder": self.index.location,
            "ok": not self.faults,
            "form": self.index.form,
            "shards": len(self.index.shards),
            "samples": self.samples,
            "bytes": self.index.bytes,
            "duration_seconds": round(self.counts.seconds, 3),
            "modalities": dict(self.counts.modalities),
            "labels": self.counts.sorted_labels(),
            "noted": self.counts.noted,
            "missing": dict(self.missing),
            "rejects": dict(self.rejects),
            "provenance": strip_secrets(self.index.provenance),
            "tool": self.index.tool,
            "faults": [asdict(fault) for fault in self.faults],
        }


def check_shards(
    folder: str | Path,
    *,
    decode: bool = False,
    cache: ShardCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ShardCheck:
    """Read every byte of a shard folder and compare it with the index.

    It finds missing, unlisted, cut, altered (size, sha256) and broken tars; a wrong number or order of samples; keys
    that occur twice in the set; unreadable json members; media that a json member promises but that are missing; empty
    members; and sums that differ from those of the index.

    Args:
        folder: The shard folder, or its URL.
        decode: Whether to also decode every sample, as training would.
        cache: Cache for the shards of a URL; by default the one that training uses.
        progress: Called with the number of bytes done and of all bytes.

    Raises:
        DataError: If there is no index.
    """
    index = read_index(folder) if is_remote(folder) else read_index_alone(folder)
    reader = _Reader(index, decode, cache or ShardCache())
    faults: list[Fault] = []
    done = 0
    for shard in index.shards:
        faults += reader.check(shard)
        done += shard.bytes
        if progress is not None:
            progress(done, index.bytes)
    listed = {shard.name for shard in index.shards}
    for path in [] if index.url else sorted(index.folder.glob("*.tar")):
        if path.name not in listed:
            message = "the index does not list it: it belongs to another set, or is left from an earlier one; remove it"
            faults.append(Fault(path.name, "", "unlisted_shard", message))
    if not faults:
        faults += _compare_sums(index, reader.counts)
    return ShardCheck(index, reader.counts, reader.samples, tuple(faults), reader.missing, _rejects(index))


class _Reader:
    """Reads the shards one by one, and collects the keys and the sums."""

    def __init__(self, index: ShardIndex, decode: bool, cache: ShardCache) -> None:
        self.counts = Counts()
        self.samples = 0
        self.missing: Counter[str] = Counter()
        self._index = index
        self._cache = cache
        self._shard_of_key: dict[str, str] = {}
        self._decode = decode

    def check(self, shard: ShardInfo) -> Iterator[Fault]:
        try:
            path = self._cache.path(self._index, shard)
        except DataError as error:
            yield Fault(shard.name, "", "not_fetched", str(error))
            return
        if not path.is_file():
            yield Fault(shard.name, "", "missing_shard", "the index lists it, but it is missing; fetch it again")
            return
        size = path.stat().st_size
        if size != shard.bytes:
            message = f"it has {size} bytes, but the index says {shard.bytes}; fetch it again"
            yield Fault(shard.name, "", "wrong_size", message)
        elif (digest := digest_of_file(path)) != shard.sha256:
            message = f"its sha256 is {digest}, but the index says {shard.sha256}; fetch it again"
            yield Fault(shard.name, "", "wrong_digest", message)
        keys: list[str] = []
        try:
            for key, members in _samples(path):
                keys.append(key)
                yield from (Fault(shard.name, key, *found) for found in self._sample(shard.name, key, members))
        except (tarfile.TarError, OSError) as error:
            after = f"after sample {keys[-1]!r}" if keys else "at its start"
            yield Fault(
                shard.name,
                "",
                "broken_tar",
                f"it cannot be read beyond this position: {after}: {error}; fetch it again",
            )
        self.samples += len(keys)
        found, listed = (len(keys), *keys[:1], *keys[-1:]), (shard.samples, shard.first_key, shard.last_key)
        if found != listed:
            message = f"it holds {_span(found)}, but the index says {_span(listed)}; fetch it again"
            yield Fault(shard.name, "", "wrong_samples", message)

    def _sample(self, shard: str, key: str, members: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
        if key in self._shard_of_key:
            yield "duplicate_key", f"{self._shard_of_key[key]} already has a sample with this key"
        self._shard_of_key[key] = shard
        for suffix, content in members.items():
            if not content:
                yield "empty_member", f"its member {suffix!r} is empty"
        try:
            facts = read_facts(key, members)
            if facts["key"] != key:
                yield "wrong_key", f"its json member belongs to {facts['key']!r}"
            self.counts.add(facts)
            for kind, reason in facts.get("missing", {}).items():
                self.missing[f"{kind}: {reason}"] += 1
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            yield "bad_json", f"its json member cannot be read ({error!r})"
            return
        absent = [kind for kind in ("video", "audio") if facts.get(f"has_{kind}") and not _has(kind, members)]
        if FEATURES_SUFFIX not in members:
            promised = facts.get("source_files") or ()
            absent += [name for name in promised if not any(one.startswith(f"{name}.") for one in members)]
        if absent:
            yield (
                "missing_member",
                f"its json member promises {' and '.join(absent)}, but it has only {sorted(members)}",
            )
        elif self._decode:
            try:
                load_sample(key, members, self._profile(), FeatureRecipe.of(self._index), shard)
            except AffectGPTError as error:
                yield "undecodable", str(error)

    def _profile(self) -> MediaProfile:
        stored = self._index.recipe.get("media")
        profile = MediaProfile(sources=("frame", "face", "audio")) if stored is None else MediaProfile.of(stored)
        if self._index.form == "features":
            return profile
        named = [name for name in self._index.modalities if name in SOURCES and name not in SOURCE_TABLE]
        return replace(profile, sources=tuple(dict.fromkeys((*profile.sources, *named))))


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key and members of each sample; the members of one sample are adjacent, as WebDataset requires."""
    current: tuple[str, dict[str, bytes]] | None = None
    with path.open("rb") as file:
        for name, offset, size in scan_members(file):
            key, suffix = split_name(name)
            if current is None or current[0] != key:
                if current is not None:
                    yield current
                current = (key, {})
            if suffix in current[1]:
                raise tarfile.ReadError(f"{name!r} occurs twice in it")
            if size > MAX_MEMBER_BYTES:
                raise tarfile.ReadError(f"{name!r} has {size:,} bytes, more than {MAX_MEMBER_BYTES:,}")
            current[1][suffix] = os.pread(file.fileno(), size, offset)
    if current is not None:
        yield current


def _has(kind: str, members: Mapping[str, bytes]) -> bool:
    if FEATURES_SUFFIX in members:
        return True  # feature vectors replace the media
    if any(suffix in VIDEO_SUFFIXES - (PICTURE_SUFFIXES if kind == "audio" else frozenset()) for suffix in members):
        return True  # a video may carry the sound
    return any(suffix in AUDIO_SUFFIXES if kind == "audio" else suffix.startswith("frame") for suffix in members)


def _span(found: tuple[Any, ...]) -> str:
    return f"{found[0]} samples" + (f" from {found[1]!r} to {found[2]!r}" if found[0] else "")


def _compare_sums(index: ShardIndex, counts: Counts) -> Iterator[Fault]:
    pairs = {
        "labels": (dict(index.labels), counts.sorted_labels()),
        "modalities": (dict(index.modalities), dict(counts.modalities)),
        "duration_seconds": (round(index.duration_seconds, 1), round(counts.seconds, 1)),
    }
    for name, (said, found) in pairs.items():
        if said != found:
            message = f"its {name} differ from the samples: {str(said)[:200]} in the index, {str(found)[:200]} found"
            yield Fault("index.json", "", "wrong_sums", message)


def _rejects(index: ShardIndex) -> dict[str, int]:
    path = index.folder / REJECTS_FILE
    if index.url or not path.is_file():
        return {}
    try:
        codes = [str(json.loads(line)["code"]) for line in path.read_text("utf-8").split("\n") if line]
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise DataError(f"{str(path)!r} cannot be read ({error!r}); pack the set again, or remove it") from error
    return dict(Counter(codes).most_common())
