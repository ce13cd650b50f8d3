"""A folder of fetched shards: bounded, verified, and shared by every worker and run on a machine."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from filelock import FileLock, Timeout

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import cache_folder
from affectgpt.shards.index import ShardIndex, ShardInfo
from affectgpt.shards.remote import Patience, fetch_file, join_url

log = logging.getLogger(__name__)


def default_cache_folder() -> Path:
    """Where shards are kept: ``$AFFECTGPT_CACHE/shards``, or the user's cache folder."""
    return cache_folder() / "shards"


@dataclass(frozen=True)
class ShardCache:
    """Keeps shards by their digest: a set that moves to another address is not fetched again.

    A shard is fetched under another name, by one process while the others wait, and takes its name once its digest is
    right. When room is needed, the shards that were used longest ago go; whoever has one open can read it to its end.

    Attributes:
        folder: Where shards are kept.
        max_bytes: Size that the folder stays below.
        patience: How long a fetch is tried.
    """

    folder: Path = field(default_factory=default_cache_folder)
    max_bytes: int = 64 * 2**30
    patience: Patience = field(default_factory=Patience)

    def check(self, indexes: list[ShardIndex], open_shards: int) -> None:
        """Refuse a cache that cannot hold what is open at a time, and what is read next.

        Raises:
            ConfigError: If it cannot.
        """
        remote = [index for index in indexes if index.url]
        needed = sum(sum(sorted(shard.bytes for shard in index.shards)[-2 * open_shards :]) for index in remote)
        if needed > self.max_bytes:
            raise ConfigError(
                f"the shard cache may hold {self.max_bytes / 2**30:.2f} GiB, but the {open_shards} shards of each set "
                f"that are open at a time, and the next ones, take up to {needed / 2**30:.2f} GiB; raise "
                "cache_gigabytes, lower mix_shards, or pack smaller shards"
            )

    def path(self, index: ShardIndex, shard: ShardInfo) -> Path:
        """The shard as a local file, fetched if need be; read from where it is if the set is local.

        Raises:
            DataError: If it cannot be fetched, or is another file than the index says.
        """
        if not index.url:
            return index.folder / shard.name
        path = self.folder / f"{shard.sha256}.tar"
        if self._has(path, shard):
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if self._has(path, shard):  # another process was faster
                return path
            draft = path.with_suffix(".part")
            self._make_room(shard.bytes, draft)
            url = join_url(index.url, shard.name)
            log.info("fetching %s (%.1f MB)", url, shard.bytes / 1e6)
            try:
                fetch_file(url, draft, shard.bytes, shard.sha256, self.patience)
            except OSError as error:
                raise DataError(
                    f"{str(draft)!r} cannot be written: {error}; free some space, or move the cache"
                ) from error
            draft.replace(path)
        return path

    @staticmethod
    def _has(path: Path, shard: ShardInfo) -> bool:
        """Whether a shard is there, whole; it counts as used now."""
        try:
            os.utime(path)
            return path.stat().st_size == shard.bytes
        except FileNotFoundError:
            return False

    def _make_room(self, needed: int, draft: Path) -> None:
        with FileLock(self.folder / "room.lock"):
            files = {path: path.stat() for path in self._files()}
            files.pop(draft, None)
            total = sum(stat.st_size for stat in files.values())
            for path in sorted(files, key=lambda path: files[path].st_mtime):
                if total + needed <= self.max_bytes:
                    break
                if self._remove(path):
                    total -= files[path].st_size
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise DataError(
                    f"the shard cache {str(self.folder)!r} has {free / 1e6:.0f} MB of free disk, but the next shard "
                    f"has {needed / 1e6:.0f} MB; free some space, or give another cache_folder"
                )

    def _files(self) -> Iterator[Path]:
        for pattern in ("*.tar", "*.part"):
            yield from self.folder.glob(pattern)

    @staticmethod
    def _remove(path: Path) -> bool:
        """Remove a file unless it is being fetched."""
        if path.suffix == ".part":
            try:
                with FileLock(path.with_suffix(".lock"), timeout=0):
                    path.unlink(missing_ok=True)
            except Timeout:
                return False
        path.unlink(missing_ok=True)
        return True


class ReadAhead:
    """Fetches shards before they are needed, one at a time, in a thread of the process that will read them.

    The process does not wait for it at its end: a fetch that is cut goes on in the next run.

    Args:
        cache: Where they go.
        indexes: The sets.
    """

    def __init__(self, cache: ShardCache, indexes: tuple[ShardIndex, ...]) -> None:
        self._cache = cache
        self._indexes = indexes
        self._asked: set[tuple[int, int]] = set()
        self._closed = False
        self._wanted: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def follow(
        self, places: Callable[[], Iterator[tuple[int, int, int]]], open_shards: int
    ) -> Iterator[tuple[int, int, int]]:
        """Go through places, with the shards of those to come asked for.

        Args:
            places: Begins an iteration over (set, shard, place).
            open_shards: Shards of each set that are open at a time; as many are asked for ahead.
        """
        if not any(index.url for index in self._indexes):
            yield from places()
            return
        window = sum(open_shards * index.samples // len(index.shards) for index in self._indexes)
        scout = places()
        for part, shard, _ in islice(scout, window):
            self.ask(part, shard)
        for place in places():
            for part, shard, _ in islice(scout, 1):
                self.ask(part, shard)
            yield place

    def ask(self, part: int, shard: int) -> None:
        """Fetch a shard soon; one that was asked for is not asked for again."""
        if self._indexes[part].url and (part, shard) not in self._asked:
            self._asked.add((part, shard))
            self._wanted.put((part, shard))
            if self._thread is None:
                self._thread = Thread(target=self._run, name="read-ahead", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closed:
            part, shard = wanted
            with suppress(DataError):  # whoever needs it meets the error
                self._cache.path(self._indexes[part], self._indexes[part].shards[shard])

    def close(self) -> None:
        """Ask for no more."""
        self._closed = True
        self._wanted.put(None)
