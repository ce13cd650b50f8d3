"""Runs a batch in halves if it does not fit into a device's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from affectgpt.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")


def in_halves(run: Callable[[slice], list[T]], keys: Sequence[str], device: torch.device) -> list[T]:
    """Run a batch, halved again and again until its pieces fit into memory.

    Args:
        run: Returns one result per clip for a slice of the batch.
        keys: The clips' keys.
        device: The device that runs the batch.

    Returns:
        One result per clip, in order.

    Raises:
        DataError: If a single clip does not fit into memory.

    Examples:
        >>> in_halves(lambda part: [n * n for n in range(5)[part]], "abcde", torch.device("cpu"))
        [0, 1, 4, 9, 16]
    """
    return _run(run, keys, device, 0, len(keys))


def _run(run: Callable[[slice], list[T]], keys: Sequence[str], device: torch.device, start: int, stop: int) -> list[T]:
    try:
        return run(slice(start, stop))
    except torch.OutOfMemoryError as error:
        if stop - start <= 1:
            raise DataError(
                f"clip {keys[start]!r} does not fit into the memory of {device} ({error}); use fewer or smaller "
                "frames, or weights in half precision (dtype)"
            ) from error
    # outside the except block, which keeps the failed run's tensors alive
    if device.type == "cuda":
        torch.cuda.empty_cache()
    log.warning("%d clips do not fit into the memory of %s; trying half as many", stop - start, device)
    middle = (start + stop) // 2
    return [*_run(run, keys, device, start, middle), *_run(run, keys, device, middle, stop)]
