"""The shard index: lists the content of each tar, so that a missing or cut one is noticed at the start."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError
from affectgpt.shards import bounds
from affectgpt.shards.remote import fetch_bytes, is_remote, join_url
from affectgpt.web import without_secrets

INDEX_FILE = "index.json"
FORMAT = "affectgpt-shards"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ShardInfo:
    """One tar.

    Attributes:
        name: File name in the folder.
        samples: Samples in it.
        bytes: Size of the file.
        sha256: Digest of the file, in hex.
        first_key: Key of the first sample.
        last_key: Key of the last sample.
    """

    name: str
    samples: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str

    @classmethod
    def of(cls, saved: Any) -> ShardInfo:
        """Read untrusted plain JSON.

        Raises:
            KeyError: If something is missing.
            TypeError: If it is not a mapping.
            ValueError: If a value is invalid: a name that leads out of the folder, a negative size.
        """
        num_bytes = bounds.whole(saved["bytes"], bounds.MIN_SAMPLE_BYTES, bounds.MAX_SHARD_BYTES)
        most = min(num_bytes // bounds.MIN_SAMPLE_BYTES, bounds.MAX_SAMPLES_PER_SHARD)
        return cls(
            name=bounds.tar_name(saved["name"]),
            samples=bounds.whole(saved["samples"], 1, most),
            bytes=num_bytes,
            sha256=bounds.sha256(saved["sha256"]),
            first_key=bounds.text(saved["first_key"]),
            last_key=bounds.text(saved["last_key"]),
        )


@dataclass(frozen=True)
class ShardIndex:
    """A shard folder.

    Attributes:
        shards: Its tars, in order.
        labels: Label to the number of samples that have it, most frequent first.
        modalities: ``video``, ``audio``, ``faces``, ``subtitle``, ``labels``, ``description``, and sources from
            plug-ins, to the number of samples that have it.
        duration_seconds: Length of all clips together.
        provenance: Where the set comes from: source, licence and other facts given when packing.
        tool: Name and version of the packer.
        form: Form of the samples: ``"media"`` (original files), ``"frames"`` (ready pictures and sound) or
            ``"features"`` (vectors of frozen encoders).
        recipe: How the form was made, as plain JSON: the media profile of frames, the feature key of each stream.
        folder: Where the index was read; not saved.
        url: Where the index was read if that is not a local folder; not saved.
    """

    shards: tuple[ShardInfo, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    modalities: Mapping[str, int] = field(default_factory=dict)
    duration_seconds: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tool: str = ""
    form: str = "media"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    url: str = ""

    @property
    def location(self) -> str:
        """The folder or URL where the index was read, without password or signature, for messages and reports."""
        return without_secrets(self.url) or str(self.folder)

    @property
    def digest(self) -> str:
        """Sha256 of the names, numbers of samples and digests of all shards, in hex: which content it is."""
        shards = [[shard.name, shard.samples, shard.sha256] for shard in self.shards]
        return hashlib.sha256(json.dumps(shards).encode()).hexdigest()

    @property
    def samples(self) -> int:
        """Samples in all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the content of ``index.json``."""
        return {
            "format": FORMAT,
            "schema": SCHEMA_VERSION,
            "tool": self.tool,
            "form": self.form,
            "recipe": dict(self.recipe),
            "samples": self.samples,
            "bytes": self.bytes,
            "duration_seconds": round(self.duration_seconds, 3),
            "modalities": dict(self.modalities),
            "labels": dict(self.labels),
            "provenance": dict(self.provenance),
            "shards": [asdict(shard) for shard in self.shards],
        }


def read_index(folder: str | Path) -> ShardIndex:
    """Read the index of a shard folder, and check that its files exist and have the right size.

    Digests are not computed here: reading every byte at the start of a run would take as long as an epoch. If the
    folder is a URL, only the index is read; its shards are checked one by one when they are fetched.

    Args:
        folder: A local folder, or the URL of one: ``https``, ``s3``, ``gs`` or ``hf``.

    Raises:
        ConfigError: If URLs of this scheme are not supported.
        DataError: If there is no index, it is not one of ours, or a shard is missing or has a wrong size.
    """
    if is_remote(folder):
        path = join_url(str(folder), INDEX_FILE)
        content = fetch_bytes(path, bounds.MAX_INDEX_BYTES)
        return replace(parse_index(content, Path(), without_secrets(path)), url=str(folder))
    index = read_index_alone(folder)
    _check_files(index)
    return index


def read_index_alone(folder: str | Path) -> ShardIndex:
    """Read the index of a shard folder, without checking the shards.

    Raises:
        DataError: If there is no index, or it is not one of ours.
    """
    folder = Path(folder)
    path = folder / INDEX_FILE
    try:
        if path.stat().st_size > bounds.MAX_INDEX_BYTES:
            raise DataError(
                f"{str(path)!r} has {path.stat().st_size:,} bytes, but an index has {bounds.MAX_INDEX_BYTES:,} at most "
                "(MAX_INDEX_BYTES); pack the set again in larger shards"
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{str(folder)!r} is not a shard folder: it has no {INDEX_FILE}; make one with pack") from error
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read ({error}); fetch it again, or pack the set again") from error
    return parse_index(content, folder, str(path))


def parse_index(content: bytes, folder: Path, path: str) -> ShardIndex:
    """Read the content of an ``index.json``.

    Args:
        content: Content of the file.
        folder: Folder where the shards are, or will be.
        path: Origin of the file, for messages.

    Raises:
        DataError: If it is not the index of a shard folder, or not of this version.
    """
    try:
        saved = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path!r} cannot be read ({error}); fetch it again, or pack the set again") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise DataError(f"{path!r} is not the index of a shard folder (its 'format' is not {FORMAT!r})")
    if saved.get("schema") != SCHEMA_VERSION:
        raise DataError(
            f"{path!r} has schema {saved.get('schema')!r}, but this version reads {SCHEMA_VERSION}; "
            "pack the set again, or install the version that wrote it"
        )
    try:
        index = ShardIndex(
            shards=tuple(map(ShardInfo.of, saved["shards"])),
            labels=_counts(saved["labels"]),
            modalities=_counts(saved["modalities"]),
            duration_seconds=bounds.seconds(saved["duration_seconds"]),
            provenance=_mapping(saved["provenance"]),
            tool=bounds.text(saved["tool"]),
            form=bounds.text(saved.get("form", "media")),
            recipe=_mapping(saved.get("recipe", {})),
            folder=folder,
        )
        _check_names(index.shards)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path!r} is incomplete or broken ({error!r}); pack the set again") from error
    if not index.shards or index.samples != saved.get("samples"):
        raise DataError(
            f"{path!r} counts {saved.get('samples')!r} samples, but its {len(index.shards)} shards have "
            f"{index.samples} in all; pack the set again"
        )
    return index


def _check_names(shards: Sequence[ShardInfo]) -> None:
    for what, values in (("name", [s.name for s in shards]), ("sha256", [s.sha256 for s in shards])):
        if len({*values}) < len(values):
            twice = next(value for value, count in Counter(values).items() if count > 1)
            raise ValueError(f"two shards have the {what} {twice!r}")


def _counts(saved: Any) -> dict[str, int]:
    return {bounds.text(name): bounds.whole(count, 0, 2**53) for name, count in _mapping(saved).items()}


def _mapping(saved: Any) -> dict[str, Any]:
    if not isinstance(saved, dict):
        raise TypeError(f"{saved!r:.200} is not a mapping")
    return saved


def _check_files(index: ShardIndex) -> None:
    for shard in index.shards:
        path = index.folder / shard.name
        if not path.is_file():
            raise DataError(
                f"shard {str(path)!r} is in the index, but is missing; fetch it again, or pack the set again"
            )
        size = path.stat().st_size
        if size != shard.bytes:
            raise DataError(
                f"shard {str(path)!r} has {size} bytes, but the index says {shard.bytes}; it is cut, or another file: "
                "fetch it again, or pack the set again"
            )
