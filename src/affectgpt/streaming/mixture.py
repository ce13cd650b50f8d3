"""The order of an epoch over several weighted sets: a pure function of counts, seed and epoch."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from affectgpt.errors import ConfigError
from affectgpt.streaming.order import EpochOrder


class MixtureOrder:
    """The global sequence of samples in one epoch, of one set or of several.

    Each set is an endless sequence, lap after lap, with a new order in every lap; an epoch takes the next
    ``lengths[i]`` samples of set i. So a set of which an epoch takes only some gives all its samples before any is
    repeated, and a set of which it takes more is repeated. Within the epoch the sets are interleaved evenly: any n
    consecutive samples contain each set's share of n, up to an error of the number of sets.

    Args:
        counts: Samples in each shard, of each set.
        lengths: Number of samples that an epoch takes of each set; see ``mixture_lengths``.
        seed: Seed of the run.
        epoch: Number of the epoch.
        shuffle: Whether to permute.
        mix_shards: Shards of each set that are mixed at a time.

    Examples:
        >>> order = MixtureOrder([[3], [3]], [4, 2], seed=0, epoch=0, shuffle=False)
        >>> list(order.walk(0, 6))
        [(0, 0, 0), (1, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 1), (0, 0, 0)]
    """

    def __init__(
        self,
        counts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        *,
        seed: int,
        epoch: int,
        shuffle: bool,
        mix_shards: int = 4,
    ) -> None:
        self._counts = counts
        self._sizes = [sum(shards) for shards in counts]
        self._lengths = lengths
        self._seed = seed
        self._epoch = epoch
        self._shuffle = shuffle
        self._mix_shards = mix_shards

    def __len__(self) -> int:
        return sum(self._lengths)

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The samples at positions ``start`` to ``stop - 1``, as (set, shard, position in the shard).

        Starting anywhere costs the same, because nothing before ``start`` is generated.
        """
        before = self._before(start)
        draws = [
            self._endless(set_number, self._epoch * length + first)
            for set_number, (length, first) in enumerate(zip(self._lengths, before, strict=True))
        ]
        for set_number in self._turns(before, min(stop, len(self)) - start):
            yield set_number, *next(draws[set_number])

    def _endless(self, set_number: int, start: int) -> Iterator[tuple[int, int]]:
        """A set's samples from a position of its endless sequence onwards."""
        size = self._sizes[set_number]
        lap, first = divmod(start, size)
        while True:
            seed = f"{self._seed}.{set_number}" if set_number else self._seed
            order = EpochOrder(
                self._counts[set_number], seed=seed, epoch=lap, shuffle=self._shuffle, mix_shards=self._mix_shards
            )
            yield from order.walk(first, size)
            lap, first = lap + 1, 0

    def _mark(self, set_number: int, number: int) -> float:
        """Position of a set's sample ``number`` k (from 0) within the epoch, from 0 to 1: ``(k + 1/2) / length``.

        The k-th of n samples is in the middle of the k-th of n equal intervals, so that the samples of each set are
        spread evenly; sorting all samples by this mark interleaves the sets. A set has about ``m * n`` samples before
        mark m, which ``_before`` uses to jump to any position.
        """
        return (2 * number + 1) / (2 * self._lengths[set_number])

    def _turns(self, before: Sequence[int], count: int) -> Iterator[int]:
        """The sets of the next ``count`` positions, in order of their samples' marks."""
        if len(self._lengths) == 1:
            yield from (0 for _ in range(count))
            return
        heap = [(self._mark(set_number, number), set_number, number) for set_number, number in enumerate(before)]
        heapq.heapify(heap)
        for _ in range(count):
            _, set_number, number = heap[0]
            yield set_number
            heapq.heapreplace(heap, (self._mark(set_number, number + 1), set_number, number + 1))

    def _before(self, start: int) -> list[int]:
        """Number of samples of each set before a position of the epoch."""
        if len(self._lengths) == 1:
            return [start]
        sets = len(self._lengths)
        # a set has at most m * n + 1 smaller marks, so at most ``start`` samples in all come before this one
        mark = (start - sets) / len(self)
        numbers = []
        for set_number, length in enumerate(self._lengths):
            number = max(0, int(mark * length + 0.5))  # (k + 1/2) / length < mark, up to rounding of floats
            while number and self._mark(set_number, number - 1) >= mark:
                number -= 1
            while self._mark(set_number, number) < mark:
                number += 1
            numbers.append(number)
        for set_number in self._turns(numbers, start - sum(numbers)):
            numbers[set_number] += 1
        return numbers


def mixture_lengths(sizes: Sequence[int], weights: Sequence[float | None]) -> list[int]:
    """Number of samples that an epoch takes of each set.

    Without weights, every sample once. With weights, the epoch is as long as all sets together, and set i gets the
    share ``w_i / sum(w)`` of it, rounded by largest remainders so that the sum is exact.

    Args:
        sizes: Samples in each set.
        weights: Relative weight of each set; all ``None`` for no weights.

    Raises:
        ConfigError: If only some sets have a weight, one is not above zero, or a set would get no samples.

    Examples:
        >>> mixture_lengths([100, 50], [None, None]), mixture_lengths([100, 50], [1, 1])
        ([100, 50], [75, 75])
    """
    given = [weight for weight in weights if weight is not None]
    if not given:
        return list(sizes)
    if len(given) < len(sizes):
        raise ConfigError(f"weights of the training sets: {list(weights)}; give every set a weight, or none")
    if any(weight <= 0 for weight in given):
        raise ConfigError(f"weights of the training sets: {given}; all must be above 0; leave a set out instead")
    total = sum(sizes)
    exact = [total * weight / sum(given) for weight in given]
    lengths = [int(value) for value in exact]
    by_rest = sorted(range(len(sizes)), key=lambda set_number: (lengths[set_number] - exact[set_number], set_number))
    for set_number in by_rest[: total - sum(lengths)]:
        lengths[set_number] += 1
    if 0 in lengths:
        raise ConfigError(
            f"weights of the training sets: {given} give set {lengths.index(0)} no samples in an epoch of {total}; "
            "raise its weight, or leave it out"
        )
    return lengths
