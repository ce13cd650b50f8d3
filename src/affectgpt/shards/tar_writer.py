"""Writes one tar of samples, and digests it on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.shards.index import ShardInfo
from affectgpt.shards.journal import Counts


@dataclass(frozen=True)
class Sample:
    """A sample ready to be written.

    Attributes:
        key: Its name, unique in the set.
        members: Suffix (``"mp4"``, ``"faces.npy"``, ``"feats.safetensors"``) to content, without the json member.
        facts: Plain JSON that becomes the json member. The index counts ``labels`` (a list), ``duration_seconds``,
            ``subtitle``, ``description``, ``has_video``, ``has_audio``, ``has_faces`` and ``media_notes`` in it.
    """

    key: str
    members: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)


class TarWriter:
    """A tar that is being written: the members of a sample stand together, in the order of their suffixes.

    The same samples give the same bytes: no owner, no time, no order of a dictionary is in them.

    Args:
        path: A new file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = Counts()
        self._keys: list[str] = []
        self._file = _DigestingFile(path)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w")  # type: ignore[arg-type]  # writes and tells only

    @property
    def samples(self) -> int:
        """Samples so far."""
        return len(self._keys)

    @property
    def bytes(self) -> int:
        """Size so far."""
        return self._file.size

    def add(self, sample: Sample) -> None:
        """Write a sample."""
        facts = json.dumps(dict(sample.facts), ensure_ascii=False, sort_keys=True).encode()
        for suffix, content in sorted({**sample.members, "json": facts}.items()):
            entry = tarfile.TarInfo(f"{sample.key}.{suffix}")
            entry.size, entry.mode = len(content), 0o444
            self._tar.addfile(entry, io.BytesIO(content))
        self._keys.append(sample.key)
        self.counts.add(sample.facts)

    def close(self) -> ShardInfo:
        """End the file, which is on the disk when this returns."""
        self._tar.close()
        self._file.close()
        digest = self._file.digest.hexdigest()
        return ShardInfo(self.path.name, len(self._keys), self._file.size, digest, self._keys[0], self._keys[-1])

    def drop(self) -> None:
        """Remove the unfinished file."""
        self._file.abandon()
        self.path.unlink(missing_ok=True)


class _DigestingFile:
    """A new file that knows its size and its sha256."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = path.open("xb")

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):  # what is still buffered may not fit on the disk either; the file is removed anyway
            self._file.close()
