"""Limits the memory that decoding may take, in a process that does nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectgpt.media.limits import MAX_WORKER_BYTES

_is_watched = False


def watch_memory() -> None:
    """Limit every ``bounded_memory`` block of this process from now on; call it in worker processes only."""
    global _is_watched
    _is_watched = sys.platform == "linux"


@contextmanager
def bounded_memory(most_bytes: int = MAX_WORKER_BYTES) -> Iterator[None]:
    """In a worker, limit the memory that the block may take; elsewhere, do nothing.

    Beyond the limit a ``MemoryError`` or FFmpeg's own error is raised; otherwise the machine would run out of memory
    and the system would kill a process.
    """
    if not _is_watched:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    pages = int(Path("/proc/self/statm").read_text().split()[5])  # private writable memory
    most = pages * resource.getpagesize() + most_bytes
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory was refused; torch has no error class for it on a CPU."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
