"""The order of an epoch: a pure function of sample counts, seed and epoch, without any data."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from affectgpt.errors import ConfigError


class EpochOrder:
    """The global sequence of samples in one epoch.

    With shuffling, the shards are permuted and taken in groups of ``mix_shards``, and the samples of each group are
    permuted. So the samples of a batch come from several shards, but no more than ``mix_shards`` are open at a time.
    Without shuffling, it is the order of packing.

    Args:
        counts: Samples in each shard.
        seed: Seed of the run.
        epoch: Number of the pass over the data.
        shuffle: Whether to permute.
        mix_shards: Shards in a group.

    Examples:
        >>> list(EpochOrder([2, 1], seed=0, epoch=0, shuffle=False).walk(0, 3))
        [(0, 0), (0, 1), (1, 0)]
    """

    def __init__(
        self, counts: Sequence[int], *, seed: int | str, epoch: int, shuffle: bool, mix_shards: int = 4
    ) -> None:
        if mix_shards < 1:
            raise ConfigError(f"mix_shards={mix_shards}, but at least one shard must be open at a time")
        self._counts = counts
        self._name = f"{seed}/{epoch}"
        self._shuffle = shuffle
        shards = list(range(len(counts)))
        if shuffle:
            random.Random(self._name).shuffle(shards)
        self._groups = [shards[first : first + mix_shards] for first in range(0, len(shards), mix_shards)]
        sizes = (sum(counts[shard] for shard in group) for group in self._groups)
        self._begins = list(accumulate(sizes, initial=0))

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The samples at positions ``start`` to ``stop - 1`` of the sequence, as (shard, position in the shard).

        Only the groups in this range are generated, one at a time.
        """
        number = bisect_right(self._begins, start) - 1
        while number < len(self._groups) and self._begins[number] < stop:
            begin = self._begins[number]
            yield from self._group(number, max(start - begin, 0), stop - begin)
            number += 1

    def _group(self, number: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        shards = self._groups[number]
        begins = list(accumulate((self._counts[shard] for shard in shards), initial=0))
        samples = list(range(begins[-1]))
        if self._shuffle:
            random.Random(f"{self._name}/{number}").shuffle(samples)
        for sample in samples[start:stop]:
            nth = bisect_right(begins, sample) - 1
            yield shards[nth], sample - begins[nth]


def share_of_rank(num_samples: int, rank: int, world_size: int) -> tuple[tuple[int, int], ...]:
    """The positions that a rank reads if no sample may be left out: the same number on every rank.

    Each rank reads one contiguous run. If the samples do not divide evenly, the last rank also reads the first ones
    again. See ``EpochPlan`` for training, where no sample may be read twice.

    Returns:
        One interval ``(start, stop)``, and possibly more from the beginning.

    Raises:
        ConfigError: If the rank does not exist, or there are fewer samples than ranks.

    Examples:
        >>> share_of_rank(10, 0, 3), share_of_rank(10, 2, 3)
        (((0, 4),), ((8, 10), (0, 2)))
    """
    check_ranks(num_samples, rank, world_size)
    size = -(-num_samples // world_size)
    start, stop = rank * size, (rank + 1) * size
    pieces = []
    while start < stop:  # more than one lap if several ranks start after the end
        first = start % num_samples
        length = min(stop - start, num_samples - first)
        pieces.append((first, first + length))
        start += length
    return tuple(pieces)


def check_ranks(num_samples: int, rank: int, world_size: int) -> None:
    """Refuse settings that would leave a rank without samples.

    Raises:
        ConfigError: If the rank does not exist, or there are fewer samples than ranks.
    """
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} of {world_size} does not exist; ranks count from 0")
    if num_samples < world_size:
        raise ConfigError(
            f"{num_samples} samples for {world_size} ranks: some would get none and the others wait for them forever; "
            "use fewer ranks or a larger set"
        )
