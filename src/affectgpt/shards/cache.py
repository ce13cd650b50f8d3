"""A folder of fetched shards: bounded, verified, and shared by every worker and run on a machine."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from filelock import FileLock, Timeout

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import cache_folder, digest_of_file, new_file_mode
from affectgpt.shards.index import ShardIndex, ShardInfo
from affectgpt.shards.remote import fetch_file, join_url
from affectgpt.web import Patience, without_secrets

log = logging.getLogger(__name__)


def default_cache_folder() -> Path:
    """The default folder of the cache: ``$AFFECTGPT_CACHE/shards``, or the user's cache folder."""
    return cache_folder() / "shards"


@dataclass(frozen=True)
class ShardCache:
    """Keeps shards by their digest, so that a set that moves to another URL is not fetched again.

    One process fetches a shard to a temporary name while the others wait, and renames it once its digest is right. When
    space is needed, the least recently used shards are removed; processes that have one open can still read it.

    The modification time of a verified shard is derived from its digest, so that a later change is noticed without
    reading the file; its access time records its last use. Several users may share the folder: each writes temporary
    files of their own, and reads the shards of all.

    Attributes:
        folder: The folder; ``None`` for ``default_cache_folder()``.
        max_bytes: Largest size of the folder.
        patience: How long to try a fetch.
    """

    folder: Path | None = None
    max_bytes: int = 64 * 2**30
    patience: Patience = field(default_factory=Patience)

    def check(self, indexes: list[ShardIndex], open_shards: int) -> None:
        """Refuse a cache that cannot hold the open shards and the next ones.

        Raises:
            ConfigError: If it cannot.
        """
        remote = [index for index in indexes if index.url]
        needed = sum(sum(sorted(shard.bytes for shard in index.shards)[-2 * open_shards :]) for index in remote)
        if needed > self.max_bytes:
            raise ConfigError(
                f"the shard cache may hold {self.max_bytes / 2**30:.2f} GiB, but the {open_shards} shards of each set "
                f"that are open at a time, and the next ones, need up to {needed / 2**30:.2f} GiB; raise "
                "cache_gigabytes, lower mix_shards, or pack smaller shards"
            )

    def path(self, index: ShardIndex, shard: ShardInfo) -> Path:
        """The shard as a local file, fetched if necessary; a local set is read where it is.

        Raises:
            DataError: If it cannot be fetched, or differs from the index.
        """
        if not index.url:
            return index.folder / shard.name
        folder = self.folder or default_cache_folder()
        path = folder / f"{shard.sha256}.tar"
        if _is_whole(path, shard):
            return path
        draft = path.with_name(f"{shard.sha256}-{os.getuid()}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(draft.with_suffix(".lock")):
                if _is_whole(path, shard):  # another process has fetched it
                    return path
                self._make_room(folder, shard.bytes, draft)
                url = join_url(index.url, shard.name)
                log.info("fetching %s (%.1f MB)", without_secrets(url), shard.bytes / 1e6)
                fetch_file(url, draft, shard.bytes, shard.sha256, self.patience)
                _mark_verified(draft, shard.sha256)
                draft.replace(path)
        except OSError as error:
            raise DataError(
                f"the shard cache {str(folder)!r} cannot be written ({error}); free some space, or give another folder "
                "as cache_folder or in the environment variable AFFECTGPT_CACHE"
            ) from error
        return path

    def _make_room(self, folder: Path, needed: int, draft: Path) -> None:
        with _lock(folder / f"room-{os.getuid()}.lock"):
            files = _files(folder)
            files.pop(draft, None)
            total = sum(stat.st_size for stat in files.values())
            for path in sorted(files, key=lambda path: files[path].st_atime_ns):
                if total + needed <= self.max_bytes:
                    break
                if _remove(path):
                    total -= files[path].st_size
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise DataError(
                    f"the shard cache {str(folder)!r} has {free / 1e6:.0f} MB of free disk, but the next shard "
                    f"has {needed / 1e6:.0f} MB; free some space, or give another cache_folder"
                )


def _is_whole(path: Path, shard: ShardInfo) -> bool:
    """Whether a verified shard is there unchanged; it then counts as used now."""
    try:
        stat = path.stat()
        if stat.st_size != shard.bytes:
            return False
        if stat.st_mtime_ns != _verified_ns(shard.sha256):
            if _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino) != shard.sha256:
                log.warning("%s was changed after it was fetched; fetching it again", path)
                return False
            _mark_verified(path, shard.sha256)
        else:
            with suppress(PermissionError):  # of another user
                os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def _verified_ns(sha256: str) -> int:
    """The modification time that marks a file as verified: a second between 2001 and 2010."""
    return (10**9 + int(sha256[:7], 16)) * 10**9


def _mark_verified(path: Path, sha256: str) -> None:
    with suppress(PermissionError):  # the file of another user, whose digest is computed once in each process
        os.utime(path, ns=(time.time_ns(), _verified_ns(sha256)))


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    """Sha256 of a file, computed once in each process unless the file changes."""
    return digest_of_file(path)


def _lock(path: Path) -> FileLock:
    return FileLock(path, mode=new_file_mode())  # the default is 0644, whatever the umask


def _files(folder: Path) -> dict[Path, os.stat_result]:
    """The shards and the temporary files; another process may remove some meanwhile."""
    found = {}
    for pattern in ("*.tar", "*.part"):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                found[path] = path.stat()
    return found


def _remove(path: Path) -> bool:
    """Remove a file, unless it is being fetched or only another user may remove it."""
    try:
        if path.suffix == ".part":
            with _lock(path.with_suffix(".lock")).acquire(timeout=0):
                path.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except (Timeout, PermissionError):
        return False
    return True


class ReadAhead:
    """Fetches shards ahead, one at a time, in a thread of the process that will read them.

    The process does not wait for the thread when it ends: an interrupted fetch continues in the next run.

    Args:
        cache: Where fetched shards are kept.
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
        self, positions: Callable[[], Iterator[tuple[int, int, int]]], open_shards: int
    ) -> Iterator[tuple[int, int, int]]:
        """Iterate over the positions and request the shards of coming positions ahead.

        Args:
            positions: Begins an iteration over (set, shard, position).
            open_shards: Shards of each set that are open at a time; as many are requested ahead.
        """
        if not any(index.url for index in self._indexes):
            yield from positions()
            return
        window = sum(open_shards * index.samples // len(index.shards) for index in self._indexes)
        scout = positions()
        for set_number, shard, _ in islice(scout, window):
            self.ask(set_number, shard)
        for position in positions():
            for set_number, shard, _ in islice(scout, 1):
                self.ask(set_number, shard)
            yield position

    def ask(self, set_number: int, shard: int) -> None:
        """Request a shard, unless it was requested before."""
        if self._indexes[set_number].url and (set_number, shard) not in self._asked:
            self._asked.add((set_number, shard))
            self._wanted.put((set_number, shard))
            if self._thread is None:
                self._thread = Thread(target=self._run, name="read-ahead", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closed:
            set_number, shard = wanted
            with suppress(DataError):  # the reader that needs the shard meets the error
                self._cache.path(self._indexes[set_number], self._indexes[set_number].shards[shard])

    def close(self) -> None:
        """Stop requesting shards."""
        self._closed = True
        self._wanted.put(None)
