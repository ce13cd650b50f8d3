"""Chooses how many threads work on the CPU while answers are written.

Writing is a chain of thousands of small operations. Each is cut among the threads, and ends when the last of them is
done: beside another process on the same cores that one waits for its turn, milliseconds instead of microseconds, at
every operation. Fewer threads than cores that are really free are then many times quicker. How many are free is not
asked of the system, whose load average is a minute old and counts other containers; a chain of such operations tells.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

log = logging.getLogger(__name__)

WORTH = 0.9
"""More threads are taken where they need no more than this share of the time of fewer."""


@contextmanager
def fitting_threads(device: torch.device) -> Iterator[int]:
    """As many threads as are quickest now, at most those that torch was given; afterwards as before.

    Args:
        device: Where the work is done; only the CPU has threads to choose.
    """
    given = torch.get_num_threads()
    if device.type != "cpu" or given == 1:
        yield given
        return
    chosen = quickest_threads(given)
    if chosen < given:
        log.info("%d of %d threads: more are slower beside what else runs on this machine", chosen, given)
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(given)


def quickest_threads(most: int) -> int:
    """The number of threads, of 1, 2, 4, ... and ``most``, with which a chain of small operations is quickest now."""
    before = torch.get_num_threads()
    counts = sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)})
    best, least = 1, float("inf")
    try:
        for count in counts:
            torch.set_num_threads(count)
            seconds = _seconds_of_chain()
            if seconds < WORTH * least:
                best, least = count, seconds
    finally:
        torch.set_num_threads(before)
    return best


def _seconds_of_chain(operations: int = 60, repeats: int = 2) -> float:
    """Seconds of a chain like the layers of a small model at a batch of some dozens; the worst repeat counts."""
    weight = torch.zeros(512, 512)
    taken = []
    for turn in range(repeats + 1):
        rows = torch.zeros(48, 512)
        start = time.perf_counter()
        for _ in range(operations // 2):
            rows = torch.relu(rows @ weight)
        if turn:  # the first one starts the threads
            taken.append(time.perf_counter() - start)
    return max(taken)
