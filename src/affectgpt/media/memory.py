"""Bounds the memory that decoding may take, in a process that does nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectgpt.media.limits import MAX_WORKER_BYTES

_is_watched = False


def watch_memory() -> None:
    """Bound every ``bounded_memory`` block of this process from now on: it is a worker, whose memory is its job's."""
    global _is_watched
    _is_watched = sys.platform == "linux"


@contextmanager
def bounded_memory(most_bytes: int = MAX_WORKER_BYTES) -> Iterator[None]:
    """In a worker, let the block take so much memory and no more; elsewhere, do nothing.

    What is refused comes as a ``MemoryError``, or as FFmpeg's own error, in place of a machine without memory and a
    process that the system kills.
    """
    if not _is_watched:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    pages = int(Path("/proc/self/statm").read_text().split()[5])  # private memory that can be written
    most = pages * resource.getpagesize() + most_bytes
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was refused; torch has no error of its own for it on a CPU."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
