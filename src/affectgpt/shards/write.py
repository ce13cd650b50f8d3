"""Writes samples as a shard folder: tars of bounded size, whole or not at all, resumed after a kill."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from affectgpt import __version__
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import new_file_mode, replace_folder, restore_folder, write_lines, write_whole
from affectgpt.manifests.record import SampleError
from affectgpt.shards.index import INDEX_FILE, ShardIndex, ShardInfo, read_index
from affectgpt.shards.journal import Counts, Entry, Journal, chain
from affectgpt.shards.set_card import CARD_FILE, set_card
from affectgpt.shards.tar_writer import Sample, TarWriter
from affectgpt.web import strip_secrets

REJECTS_FILE = "rejects.jsonl"
_TOOL = f"affectgpt {__version__}"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ShardWriter:
    """Writes a shard folder.

    The tars are written under a hidden folder beside ``out``, ``.OUT.packing``, with a journal of the finished ones;
    ``finish`` renames it to ``out``. After a kill, a full disk or an error, the same call continues after the last
    finished shard, and the result is byte for byte the same as without the interruption. A run that finished no shard
    leaves nothing behind, and ``out`` is never seen half-written. Every input is either written or rejected, in order:

        with ShardWriter(out, form="features", recipe=recipe) as writer:
            for item in items[writer.resume(item.identity for item in items) :]:
                try:
                    writer.write(make_sample(item), item.identity)
                except SampleError as problem:
                    writer.reject(problem, item.identity)
            index = writer.finish(provenance={"source": ...})

    Args:
        out: Folder to create.
        form: ``ShardIndex.form`` of the new set.
        recipe: ``ShardIndex.recipe`` of the new set, plain JSON.
        samples_per_shard: Most samples in a tar.
        shard_bytes: Size at which a tar ends: with the sample that reaches it.
        settings: Other settings that affect the samples, as plain JSON: versions, weights. An unfinished packing with
            another form, recipe, size or settings is refused, not resumed.
        overwrite: Replace ``out`` at the end, if it is a shard folder.
        restart: Discard an unfinished packing into ``out``.

    Raises:
        ConfigError: If ``out`` exists, another process is writing it, or an unfinished packing has other settings.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        form: str = "media",
        recipe: Mapping[str, Any] | None = None,
        samples_per_shard: int = 512,
        shard_bytes: int = 256 * 10**6,
        settings: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        restart: bool = False,
    ) -> None:
        if samples_per_shard < 1 or shard_bytes < 1:
            raise ConfigError(
                f"samples_per_shard={samples_per_shard}, shard_bytes={shard_bytes}: both must be at least 1"
            )
        self.out = Path(out)
        self._overwrite, self._restart = overwrite, restart
        self._form, self._recipe = form, dict(recipe or {})
        self._max_samples, self._max_bytes = samples_per_shard, shard_bytes
        self._draft = self.out.parent / f".{self.out.name}.packing"
        self._shards = self._draft / "shards"
        self._replaced = self._draft / "replaced"
        sizes = {"samples_per_shard": samples_per_shard, "shard_bytes": shard_bytes}
        kept = {"tool": _TOOL, "form": form, "recipe": self._recipe, **sizes, **(settings or {})}
        self._journal = Journal(self._draft / "journal.jsonl", kept)
        self._lock = FileLock(self._draft / "lock", timeout=0, mode=new_file_mode())
        self._open_shard: TarWriter | None = None
        self._rejects: list[SampleError] = []
        self._inputs = 0
        self._chain = ""

    def __enter__(self) -> Self:
        self._draft.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ConfigError(
                f"another process is writing {str(self.out)!r} (it holds {str(self._draft)!r}); wait for it, or choose "
                "another folder"
            ) from None
        try:
            self._prepare()
        except BaseException:
            if not self._journal.path.exists():
                shutil.rmtree(self._draft, ignore_errors=True)
            self._lock.release()
            raise
        if self._journal.entries:
            last = self._journal.entries[-1]
            self._inputs, self._chain = last.inputs, last.chain
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open_shard is not None:
            self._open_shard.drop()
        if not self._journal.entries:
            shutil.rmtree(self._draft, ignore_errors=True)
        self._lock.release()

    @property
    def num_resumed(self) -> int:
        """Number of inputs consumed so far; right after opening, those of an earlier run's finished shards."""
        return self._inputs

    @property
    def finished(self) -> Sequence[ShardInfo]:
        """The finished shards."""
        return [entry.shard for entry in self._journal.entries]

    def resume(self, identities: Iterable[str]) -> int:
        """Number of inputs that need not be repeated: those of an earlier run's finished shards.

        Args:
            identities: For each input, in order, a text that changes whenever the input does; ``write`` gets the same.

        Raises:
            DataError: If an input of a finished shard changed.
        """
        self._journal.check_inputs(identities)
        return self._inputs

    def write(self, sample: Sample, identity: str = "") -> None:
        """Add the sample made from the next input.

        Args:
            sample: Its key, members and facts.
            identity: See ``resume``; by default the key.

        Raises:
            SampleError: If it cannot be stored; it counts as an input only if ``reject`` is then called.
            DataError: If the disk is full. Finished shards are kept.
        """
        with self._room():
            if self._open_shard is None:
                self._open_shard = TarWriter(self._shards / f"shard-{len(self._journal.entries):06d}.tar")
            self._open_shard.add(sample)
            self._count(identity or sample.key)
            if self._open_shard.samples >= self._max_samples or self._open_shard.bytes >= self._max_bytes:
                self._close_shard()

    def reject(self, problem: SampleError, identity: str = "") -> None:
        """Record that the next input gives no sample.

        Args:
            problem: The reason; a line of ``rejects.jsonl``.
            identity: See ``resume``; by default the key.
        """
        self._rejects.append(problem)
        self._count(identity or problem.key)

    def finish(
        self, provenance: Mapping[str, Any] | None = None, rejects: Sequence[SampleError] = ()
    ) -> tuple[ShardIndex, tuple[SampleError, ...], Counts]:
        """Write ``index.json``, ``rejects.jsonl`` and the data card, and rename the folder to ``out``.

        Args:
            provenance: Plain JSON about the set, such as ``{"source": ..., "licence": ...}``.
            rejects: Faults of samples that never became inputs; listed first.

        Returns:
            The index, read back from disk, all rejects, and the sums over the set.

        Raises:
            DataError: If there are no samples, or the disk is full.
        """
        with self._room():
            if self._open_shard is not None and not self._open_shard.samples:  # its first sample was refused
                self._open_shard.drop()
                self._open_shard = None
            if self._open_shard is not None:
                self._close_shard()
            entries = self._journal.entries
            listed = (*rejects, *(r for entry in entries for r in entry.rejects), *self._rejects)
            if not entries:
                first = f"; the first fault: {listed[0]}" if listed else ""
                raise DataError(f"there is nothing to write into {str(self.out)!r}: no input gave a sample{first}")
            total = Counts()
            for entry in entries:
                total.merge(entry.counts)
            index = ShardIndex(
                shards=tuple(entry.shard for entry in entries),
                labels=total.sorted_labels(),
                modalities=dict(total.modalities),
                duration_seconds=total.seconds,
                provenance=strip_secrets(provenance or {}),
                tool=_TOOL,
                form=self._form,
                recipe=self._recipe,
            )
            write_lines(self._shards / REJECTS_FILE, (json.dumps(r.to_json(), ensure_ascii=False) for r in listed))
            write_whole(self._shards / CARD_FILE, set_card(index, listed))
            write_whole(self._shards / INDEX_FILE, json.dumps(index.to_json(), ensure_ascii=False, indent=1) + "\n")
        self._publish()
        return read_index(self.out), listed, total

    def _count(self, identity: str) -> None:
        self._inputs += 1
        self._chain = chain(self._chain, identity)

    def _close_shard(self) -> None:
        assert self._open_shard is not None
        info = self._open_shard.close()
        _sync(self._shards)  # its name must also be on disk before the journal says that it is finished
        entry = Entry(info, self._inputs, self._chain, self._open_shard.counts, tuple(self._rejects))
        self._open_shard, self._rejects = None, []
        self._journal.append(entry)

    def _prepare(self) -> None:
        restore_folder(self.out, self._replaced)
        _check_target(self.out, self._overwrite)
        if self._restart or not self._shards.is_dir():
            self._journal.path.unlink(missing_ok=True)
            shutil.rmtree(self._shards, ignore_errors=True)
        self._shards.mkdir(exist_ok=True)
        self._journal.load()
        self._check_finished()

    def _publish(self) -> None:
        """Rename the folder; the next ``_prepare`` repairs the state after a kill in between."""
        for path in (*(self._shards / name for name in (INDEX_FILE, REJECTS_FILE, CARD_FILE)), self._shards):
            _sync(path)
        replace_folder(self._shards, self.out, self._replaced)
        _sync(self.out.parent)
        self._journal.entries = []

    def _check_finished(self) -> None:
        """Remove unfinished shards, and check that the finished ones are there."""
        known = {entry.shard.name: entry.shard.bytes for entry in self._journal.entries}
        found = {path.name: path.stat().st_size for path in self._shards.iterdir()}
        for name, size in known.items():
            if found.get(name) != size:
                raise DataError(
                    f"{str(self._shards / name)!r} has {found.get(name, 0)} bytes, but its journal says {size}; it was "
                    "changed: start again with --restart"
                )
        for name in found.keys() - known.keys():
            (self._shards / name).unlink()

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            kept = len(self._journal.entries)
            raise DataError(
                f"no space left to write {str(self.out)!r} ({error.strerror}); its {kept} finished shard(s) are kept "
                f"in {str(self._draft)!r}: free some space and run the same command again to continue"
            ) from error


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(f"{str(out)!r} already exists; choose another folder, or overwrite it (--overwrite)")
    if not out.is_dir() or (any(out.iterdir()) and not (out / INDEX_FILE).is_file()):
        raise ConfigError(f"{str(out)!r} is not a shard folder, so it is not overwritten; choose another folder")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
