"""Packs a manifest into WebDataset tars with an index; every clip is decoded once before it is taken."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt import __version__
from affectgpt.datamodules.index import INDEX_FILE, ShardIndex, ShardInfo, read_index
from affectgpt.datamodules.probe import probe_record
from affectgpt.datamodules.schema import Record, SampleError, scan_manifest
from affectgpt.errors import ConfigError, DataError

REJECTS_FILE = "rejects.jsonl"


@dataclass(frozen=True)
class PackReport:
    """What packing did.

    Attributes:
        index: The new shard folder.
        rejects: The samples left out, with the reason.
        num_noted: Samples that were taken although something in them had to be skipped; see ``media_notes`` in their
            json member.
    """

    index: ShardIndex
    rejects: tuple[SampleError, ...]
    num_noted: int


def pack(
    manifest: str | Path,
    out: str | Path,
    *,
    samples_per_shard: int = 512,
    shard_bytes: int = 256 * 2**20,
    split: str | None = None,
    labelled_only: bool = False,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Pack the clips of a manifest into a shard folder.

    A shard ends at ``samples_per_shard`` samples, or at the sample with which it passes ``shard_bytes``. The media
    files are stored as they are; the same files give the same tars, byte for byte. All is written into a hidden folder
    beside ``out``, which takes the name ``out`` at the end: after a failure nothing is left.

    Args:
        manifest: See ``read_manifest``.
        out: Folder to make.
        samples_per_shard: Most samples in a tar.
        shard_bytes: Size at which a tar ends.
        split: Take only the lines of this ``split``.
        labelled_only: Leave out what cannot be learnt from, samples with neither labels nor a description; they are
            listed in ``rejects.jsonl``.
        provenance: Plain JSON about the set, such as ``{"source": ..., "licence": ...}``.
        overwrite: Replace ``out`` if it is a shard folder.
        skip_bad: Leave bad samples out and list them in ``rejects.jsonl``, instead of stopping at the first.
        progress: Called with the number of samples done and the number of all.

    Raises:
        ConfigError: If ``out`` exists, or an argument does not fit.
        DataError: If a sample is bad and ``skip_bad`` is not set, or none is good.
    """
    out = Path(out)
    if samples_per_shard < 1 or shard_bytes < 1:
        raise ConfigError(f"samples_per_shard={samples_per_shard}, shard_bytes={shard_bytes}: both must be at least 1")
    _check_target(out, overwrite)
    records, rejects = scan_manifest(manifest)
    if rejects and not skip_bad:
        raise rejects[0]
    if split is not None:
        known = sorted({str(record.split) for record in records})
        records = [record for record in records if record.split == split]
        if not records:
            raise DataError(f"manifest {str(manifest)!r} has no line with split {split!r}, only: {', '.join(known)}")
    if labelled_only:
        rejects += [_unlabelled(record) for record in records if not (record.labels or record.description)]
        records = [record for record in records if record.labels or record.description]
    origin = {"manifest": Path(manifest).name, "source": None, "licence": None, **(provenance or {})}
    with _folder_in_the_making(out) as folder:
        shards = _ShardWriter(folder, samples_per_shard, shard_bytes)
        counts = _Counts()
        for done, record in enumerate(records, start=1):
            try:
                sample = probe_record(record)
            except SampleError as problem:
                if not skip_bad:
                    raise
                rejects.append(problem)
            else:
                shards.write(record.key, sample.members)
                counts.add(sample.facts)
            if progress is not None:
                progress(done, len(records))
        infos = shards.close()
        if not infos:
            raise DataError(f"manifest {str(manifest)!r} gives no good sample; the first fault: {rejects[0]}")
        index = counts.index(infos, origin)
        _write_json(folder / INDEX_FILE, index.to_json())
        if skip_bad or labelled_only:
            lines = [json.dumps(problem.to_json(), ensure_ascii=False) + "\n" for problem in rejects]
            (folder / REJECTS_FILE).write_text("".join(lines), "utf-8")
    return PackReport(read_index(out), tuple(rejects), counts.num_noted)


def _unlabelled(record: Record) -> SampleError:
    message = f"clip {record.key!r} has neither labels nor a description, and labelled_only is set"
    return SampleError(record.key, "select", "unlabelled", message)


class _Counts:
    """What the index says about the set as a whole."""

    def __init__(self) -> None:
        self.num_noted = 0
        self._labels: Counter[str] = Counter()
        self._modalities = Counter(dict.fromkeys(("video", "audio", "faces", "subtitle", "labels", "description"), 0))
        self._seconds = 0.0

    def add(self, facts: Mapping[str, Any]) -> None:
        self.num_noted += bool(facts["media_notes"])
        self._seconds += facts["duration_seconds"]
        self._labels.update(set(facts["labels"]))
        for name in self._modalities:
            self._modalities[name] += bool(facts.get(f"has_{name}", facts.get(name)))

    def index(self, shards: list[ShardInfo], provenance: Mapping[str, Any]) -> ShardIndex:
        return ShardIndex(
            shards=tuple(shards),
            labels=dict(sorted(self._labels.items(), key=lambda item: (-item[1], item[0]))),
            modalities=dict(self._modalities),
            duration_seconds=self._seconds,
            provenance=provenance,
            tool=f"affectgpt {__version__}",
        )


class _ShardWriter:
    """Writes samples into tars of bounded size, and digests them on the way."""

    def __init__(self, folder: Path, samples_per_shard: int, shard_bytes: int) -> None:
        self._folder = folder
        self._max_samples = samples_per_shard
        self._max_bytes = shard_bytes
        self._done: list[ShardInfo] = []
        self._keys: list[str] = []
        self._file: _DigestingFile | None = None
        self._tar: Any = None

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        from webdataset import TarWriter  # takes seconds to import

        if self._file is None:
            self._file = _DigestingFile(self._folder / f"shard-{len(self._done):06d}.tar")
            self._tar = TarWriter(self._file, user="", group="", mtime=0, encoder=False)
        self._tar.write({"__key__": key, **members})
        self._keys.append(key)
        if len(self._keys) >= self._max_samples or self._file.size >= self._max_bytes:
            self._finish()

    def close(self) -> list[ShardInfo]:
        self._finish()
        return self._done

    def _finish(self) -> None:
        if self._file is None:
            return
        self._tar.close()
        self._file.close()
        name, digest = self._file.path.name, self._file.digest.hexdigest()
        self._done.append(ShardInfo(name, len(self._keys), self._file.size, digest, self._keys[0], self._keys[-1]))
        self._file, self._keys = None, []


class _DigestingFile(io.RawIOBase):
    """A new file that knows its size and its sha256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = path.open("xb")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def close(self) -> None:
        if not self.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        super().close()


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(f"{str(out)!r} exists already; choose another folder, or pass overwrite=True")
    if not out.is_dir() or (any(out.iterdir()) and not (out / INDEX_FILE).is_file()):
        raise ConfigError(f"{str(out)!r} is not a shard folder, so it is not overwritten; choose another folder")


@contextmanager
def _folder_in_the_making(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes ``out`` if nothing fails, and is removed otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    making = out.parent / f".{out.name}.packing-{mark}"
    replaced = out.parent / f".{out.name}.replaced-{mark}"
    making.mkdir()
    try:
        yield making
        if out.exists():
            out.rename(replaced)
        making.rename(out)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
