"""Runs a batch in halves where a device's memory does not hold it whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from affectgpt.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")


def in_halves(run: Callable[[slice], list[T]], keys: Sequence[str], device: torch.device) -> list[T]:
    """Run a batch, or its halves, or theirs.

    Args:
        run: Gives one result a clip for a stretch of the batch.
        keys: The clips' keys.
        device: Whose memory it is.

    Returns:
        One result a clip, in order.

    Raises:
        DataError: If the memory does not hold one clip.

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
                f"clip {keys[start]!r} does not fit into the memory of {device} ({error}); take fewer or smaller "
                "frames, or weights in half precision (dtype)"
            ) from error
    # out of the except block, which keeps the failed run's tensors alive
    if device.type == "cuda":
        torch.cuda.empty_cache()
    log.warning("%d clips do not fit into the memory of %s; trying half as many", stop - start, device)
    middle = (start + stop) // 2
    return [*_run(run, keys, device, start, middle), *_run(run, keys, device, middle, stop)]
