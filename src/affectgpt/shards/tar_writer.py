"""Writes one tar of samples with WebDataset's writer, and computes its digest meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import webdataset

from affectgpt.manifests.record import SampleError
from affectgpt.shards.index import ShardInfo
from affectgpt.shards.journal import Counts

_KEY = re.compile(r"(?:(?!\.\.?/)[^/\x00-\x1f]+/)*[^/.\x00-\x1f]+")
_SUFFIX = re.compile(r"[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
_MAX_KEY_BYTES = 200
_MAX_MEMBER_BYTES = 8**11 - 1  # eleven octal digits


@dataclass(frozen=True)
class Sample:
    """A sample ready to be written.

    Attributes:
        key: Its name, unique in the set.
        members: Suffix (``"mp4"``, ``"faces.npy"``, ``"feats.safetensors"``) to content, without the json member.
        facts: Plain JSON that becomes the json member. The index counts ``labels`` (a list), ``duration_seconds``,
            ``subtitle``, ``description``, ``has_video``, ``has_audio``, ``has_faces``, ``source_files`` (names of
            sources from plug-ins whose files are members) and ``media_notes`` in it.
    """

    key: str
    members: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)


class TarWriter:
    """Writes a tar: the members of a sample are adjacent, in the order of their suffixes.

    The same samples give the same bytes: no owner, time or dictionary order affects them.

    ``webdataset.ShardWriter`` is not used on top of ``webdataset.TarWriter``: it ends a tar before a sample rather than
    after it, prints what it does, and does not report the sizes and digests that the journal needs to resume after a
    kill.

    Args:
        path: A new file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = Counts()
        self._keys: list[str] = []
        self._file = _DigestingFile(path)
        self._tar = webdataset.TarWriter(self._file, encoder=False, mtime=0, user="", group="")

    @property
    def samples(self) -> int:
        """Samples so far."""
        return len(self._keys)

    @property
    def bytes(self) -> int:
        """Size so far, including data that is not flushed yet."""
        return int(self._tar.tarstream.offset)

    def add(self, sample: Sample) -> None:
        """Write a sample.

        Raises:
            SampleError: If a tar cannot hold it, or it could not be read back; then nothing of it is written.
        """
        _check(sample)
        self._tar.write({"__key__": sample.key, **sample.members, "json": _json(sample)})
        self._keys.append(sample.key)
        self.counts.add(sample.facts)

    def close(self) -> ShardInfo:
        """End the file; it is on disk when this returns."""
        self._tar.close()
        self._file.close()
        digest = self._file.digest.hexdigest()
        return ShardInfo(self.path.name, len(self._keys), self._file.size, digest, self._keys[0], self._keys[-1])

    def drop(self) -> None:
        """Remove the unfinished file."""
        self._file.abandon()
        self.path.unlink(missing_ok=True)


def _check(sample: Sample) -> None:
    """Refuse names that WebDataset would split differently or silently skip, and sizes that no header can hold."""
    if not _KEY.fullmatch(sample.key) or len(sample.key.encode(errors="replace")) > _MAX_KEY_BYTES:
        raise _unfit(
            sample, f"{sample.key!r} cannot be a key: give a name without dots, of at most {_MAX_KEY_BYTES} bytes"
        )
    for suffix, content in sample.members.items():
        if not _SUFFIX.fullmatch(suffix) or suffix == "json":
            raise _unfit(
                sample,
                f"{suffix!r} cannot be the suffix of a member; give lower-case letters, digits, '-', '_' and dots, "
                "with a letter or digit first, and not 'json', which holds the facts",
            )
        if len(content) > _MAX_MEMBER_BYTES:
            raise _unfit(
                sample, f"its member {suffix!r} has {len(content):,} bytes, but a tar holds 8 GiB at most; cut the clip"
            )


def _json(sample: Sample) -> bytes:
    try:
        return json.dumps(dict(sample.facts), ensure_ascii=False, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = "a number may be NaN, or a text may have an unpaired surrogate"
        raise _unfit(sample, f"its facts are not plain JSON in UTF-8 ({error}); {reason}") from error


def _unfit(sample: Sample, message: str) -> SampleError:
    return SampleError(sample.key, "write", "unfit", f"sample {sample.key!r}: {message}")


class _DigestingFile:
    """A new file that tracks its size and its sha256."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = path.open("xb")

    def write(self, data: bytes) -> int:
        if self._file.closed:  # the rest of an abandoned tar
            return len(data)
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):  # buffered data may not fit on the disk either; the file is removed anyway
            self._file.close()
