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
    """Where shards are kept: ``$AFFECTGPT_CACHE/shards``, or the user's cache folder."""
    return cache_folder() / "shards"


@dataclass(frozen=True)
class ShardCache:
    """Keeps shards by their digest: a set that moves to another address is not fetched again.

    A shard is fetched under another name, by one process while the others wait, and takes its name once its digest is
    right. When room is needed, the shards that were used longest ago go; whoever has one open can read it to its end.

    What was verified has a time of change that follows from its digest, so that a file that was altered since is
    noticed without reading it; the time of last access says when it was used. Several users may share the folder: each
    fetches under names of their own, and reads what others fetched.

    Attributes:
        folder: Where shards are kept; ``None`` for ``default_cache_folder()``.
        max_bytes: Size that the folder stays below.
        patience: How long a fetch is tried.
    """

    folder: Path | None = None
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
        folder = self.folder or default_cache_folder()
        path = folder / f"{shard.sha256}.tar"
        if _is_whole(path, shard):
            return path
        draft = path.with_name(f"{shard.sha256}-{os.getuid()}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(draft.with_suffix(".lock")):
                if _is_whole(path, shard):  # another process was faster
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
    """Whether a shard is there as it was verified; it counts as used now."""
    try:
        stat = path.stat()
        if stat.st_size != shard.bytes:
            return False
        if stat.st_mtime_ns != _verified_ns(shard.sha256):
            if _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino) != shard.sha256:
                log.warning("%s was altered since it was fetched; it is fetched again", path)
                return False
            _mark_verified(path, shard.sha256)
        else:
            with suppress(PermissionError):  # of another user
                os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def _verified_ns(sha256: str) -> int:
    """The time of change that marks a file as verified: some second between 2001 and 2010."""
    return (10**9 + int(sha256[:7], 16)) * 10**9


def _mark_verified(path: Path, sha256: str) -> None:
    with suppress(PermissionError):  # of another user: it is digested once in each process
        os.utime(path, ns=(time.time_ns(), _verified_ns(sha256)))


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    """Sha256 of a file, read once in each process as long as it does not change."""
    return digest_of_file(path)


def _lock(path: Path) -> FileLock:
    return FileLock(path, mode=new_file_mode())  # its own is 0644, whatever the umask


def _files(folder: Path) -> dict[Path, os.stat_result]:
    """What is kept and what is being fetched; another process may remove some meanwhile."""
    found = {}
    for pattern in ("*.tar", "*.part"):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                found[path] = path.stat()
    return found


def _remove(path: Path) -> bool:
    """Remove a file unless it is being fetched, or another user's in a folder where only they may remove it."""
    try:
        if path.suffix == ".part":
            with _lock(path.with_suffix(".lock")).acquire(timeout=0):
                path.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except (Timeout, PermissionError):
        return False
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
        self, positions: Callable[[], Iterator[tuple[int, int, int]]], open_shards: int
    ) -> Iterator[tuple[int, int, int]]:
        """Go through the positions and ask for the shards of the coming ones ahead.

        Args:
            positions: Begins an iteration over (set, shard, position).
            open_shards: Shards of each set that are open at a time; as many are asked for ahead.
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
        """Fetch a shard soon; one that was asked for is not asked for again."""
        if self._indexes[set_number].url and (set_number, shard) not in self._asked:
            self._asked.add((set_number, shard))
            self._wanted.put((set_number, shard))
            if self._thread is None:
                self._thread = Thread(target=self._run, name="read-ahead", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closed:
            set_number, shard = wanted
            with suppress(DataError):  # whoever needs it meets the error
                self._cache.path(self._indexes[set_number], self._indexes[set_number].shards[shard])

    def close(self) -> None:
        """Ask for no more."""
        self._closed = True
        self._wanted.put(None)
