"""The order of an epoch: a pure function of sample counts, seed and epoch, without any data."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal

from affectgpt.errors import ConfigError

Remainder = Literal["drop", "repeat"]


class EpochOrder:
    """The global sequence of samples in one epoch.

    Shuffled, the shards are permuted, taken in groups of ``mix_shards``, and the samples of each group permuted: so the
    samples of a batch come from several shards, and no more than ``mix_shards`` need be open at a time. Unshuffled, it
    is the order of packing.

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

    def __init__(self, counts: Sequence[int], *, seed: int, epoch: int, shuffle: bool, mix_shards: int = 4) -> None:
        if mix_shards < 1:
            raise ConfigError(f"mix_shards={mix_shards}, but at least one shard must be open at a time")
        self._counts = counts
        self._name = f"{seed}/{epoch}"
        self._shuffle = shuffle
        shards = list(range(len(counts)))
        if shuffle:
            random.Random(self._name).shuffle(shards)
        self._groups = [shards[first : first + mix_shards] for first in range(0, len(shards), mix_shards)]

    def walk(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The samples at positions ``start`` to ``stop - 1`` of the sequence, as (shard, place in the shard).

        Only the groups that are touched are laid out.
        """
        begin = 0
        for number, shards in enumerate(self._groups):
            end = begin + sum(self._counts[shard] for shard in shards)
            if begin < stop and start < end:
                yield from self._group(number, shards)[max(start - begin, 0) : stop - begin]
            begin = end

    def _group(self, number: int, shards: list[int]) -> list[tuple[int, int]]:
        samples = [(shard, place) for shard in shards for place in range(self._counts[shard])]
        if self._shuffle:
            random.Random(f"{self._name}/{number}").shuffle(samples)
        return samples


def share_of_rank(num_samples: int, rank: int, world_size: int, remainder: Remainder) -> list[tuple[int, int]]:
    """The positions of the epoch's sequence that a rank reads: the same number on every rank.

    Each rank has one run of neighbours, so that it opens few shards. Where the samples do not divide evenly, ``drop``
    leaves out the last ``num_samples % world_size`` of the sequence (others in every shuffled epoch), and ``repeat``
    lets the last rank read the first ones again.

    Returns:
        One interval ``(start, stop)``, and with ``repeat`` possibly a second from the beginning.

    Raises:
        ConfigError: If the rank would get no sample.

    Examples:
        >>> [share_of_rank(10, rank, 3, "drop") for rank in range(3)]
        [[(0, 3)], [(3, 6)], [(6, 9)]]
        >>> share_of_rank(10, 2, 3, "repeat")
        [(8, 10), (0, 2)]
    """
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} of {world_size} does not exist; ranks count from 0")
    if num_samples < world_size:
        raise ConfigError(
            f"{num_samples} samples for {world_size} ranks: some would get none and the others wait for them forever; "
            "use fewer ranks or a larger set"
        )
    size = num_samples // world_size if remainder == "drop" else -(-num_samples // world_size)
    start, stop = rank * size, (rank + 1) * size
    pieces = []
    while start < stop:  # more than one lap where several ranks lie behind the end
        first = start % num_samples
        length = min(stop - start, num_samples - first)
        pieces.append((first, first + length))
        start += length
    return pieces
