"""Deals samples out to a fixed number of batches of similar length, by arithmetic on their lengths alone.

A window is a run of ``n = w * b`` samples of a rank: ``w`` batches of ``b`` samples. They are sorted by length and cut
into exactly ``w`` batches, so that the largest number of positions, rows times the longest row, is as small as it can
be. Batches of short samples then have more of them. Since a window has a fixed number of samples and of batches, every
rank makes the same number of steps, and a position in the epoch is still a number of batches.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


def deal(lengths: Sequence[int], batches: int, seed: str) -> list[list[int]]:
    """Deal a window out.

    Args:
        lengths: Tokens of each sample; at least one for each batch.
        batches: Number of batches, w.
        seed: The order of the batches is a pure function of it, since the longest should not always come first.

    Returns:
        Numbers of the samples of each batch.

    Examples:
        >>> sorted(deal([9, 1, 1, 10, 2, 2, 1, 1], 3, "x"))
        [[0], [3], [4, 5, 1, 2, 6, 7]]
        >>> positions(deal([9, 1, 1, 10, 2, 2, 1, 1], 2, "x"), [9, 1, 1, 10, 2, 2, 1, 1])
        [20, 12]
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    low, high = lengths[order[0]], len(lengths) * lengths[order[0]]
    while low < high:  # bisect for the smallest largest batch
        middle = (low + high) // 2
        if len(_cut(order, lengths, middle)) <= batches:
            high = middle
        else:
            low = middle + 1
    found = _cut(order, lengths, low)
    while len(found) < batches:  # the largest that can be halved
        number = max(
            (i for i, rows in enumerate(found) if len(rows) > 1), key=lambda i: len(found[i]) * lengths[found[i][0]]
        )
        rows = found[number]
        found[number : number + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    random.Random(seed).shuffle(found)
    return found


def positions(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[int]:
    """Positions of each batch, padding included: rows times the longest row."""
    return [len(rows) * max(lengths[i] for i in rows) for rows in batches]


def fitting_size(lengths: Sequence[int], batch_tokens: int, window: int) -> int:
    """The largest mean number of samples in a batch with which no batch of some windows exceeds a number of positions.

    Args:
        lengths: Tokens of samples as they come.
        batch_tokens: Most positions of a batch, padding included.
        window: Batches of a window.

    Returns:
        The number; 0 if the longest sample alone exceeds ``batch_tokens``.

    Examples:
        >>> fitting_size([10, 20, 30, 20], batch_tokens=60, window=2)
        2
    """
    if max(lengths) > batch_tokens:
        return 0
    size = max(1, min(batch_tokens * len(lengths) // sum(lengths), len(lengths)))
    while size > 1:
        batches = min(window, len(lengths) // size)
        starts = range(0, len(lengths) - batches * size + 1, batches * size)
        windows = [lengths[start : start + batches * size] for start in starts]
        if all(max(positions(deal(cut, batches, ""), cut)) <= batch_tokens for cut in windows):
            break
        size -= 1
    return size


def _cut(order: Sequence[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    """Samples in descending order of length, cut into batches of at most ``most`` positions."""
    found: list[list[int]] = []
    for i in order:
        if found and (len(found[-1]) + 1) * lengths[found[-1][0]] <= most:
            found[-1].append(i)
        else:
            found.append([i])
    return found
