"""Streams decoded clips from a shard folder, each rank and worker its own part, in a reproducible order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import IterableDataset, get_worker_info

from affectgpt.datamodules.index import ShardIndex, read_index
from affectgpt.datamodules.order import EpochOrder, Remainder, share_of_rank
from affectgpt.datamodules.tar import ShardReader
from affectgpt.errors import ConfigError
from affectgpt.media.profile import MediaProfile
from affectgpt.types import Clip


class ShardStream(IterableDataset[Clip]):
    """The clips of a shard folder.

    The order is a pure function of seed, epoch, rank and world size; see ``EpochOrder`` and ``share_of_rank``. Workers
    of a ``DataLoader`` take turns by blocks of ``block`` samples. With ``block`` equal to the batch size the batches
    are the same, in the same order, for any number of workers.

    Args:
        folder: A folder made by ``pack``, or its index.
        profile: How clips are decoded.
        shuffle: Whether to permute the samples anew in each epoch; see ``set_epoch``.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: Number of processes.
        remainder: What happens to samples that do not divide evenly among the ranks: see ``share_of_rank``.
        block: Neighbouring samples that go to one worker.
        mix_shards: Shards that are open, and mixed, at a time.
        cache_decoded: Keep every decoded clip in memory, for sets that fit. A worker's memory ends with the epoch, so
            it does not go together with workers.

    Raises:
        ConfigError: If an argument does not fit, or a rank would get no sample.
        DataError: If the folder is not whole. While iterating: if a shard or a sample is broken; nothing is skipped.
    """

    def __init__(
        self,
        folder: str | Path | ShardIndex,
        profile: MediaProfile | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        remainder: Remainder = "drop",
        block: int = 1,
        mix_shards: int = 4,
        cache_decoded: bool = False,
    ) -> None:
        super().__init__()
        if block < 1:
            raise ConfigError(f"block={block}, but a worker reads at least one sample at a time")
        self.index = folder if isinstance(folder, ShardIndex) else read_index(folder)
        self.profile = profile or MediaProfile()
        self.shuffle = shuffle
        self.seed = seed
        self.block = block
        self.mix_shards = mix_shards
        self.epoch = 0
        self._counts = [shard.samples for shard in self.index.shards]
        self._share = share_of_rank(sum(self._counts), rank, world_size, remainder)
        self._cache: dict[tuple[int, int], Clip] | None = {} if cache_decoded else None
        EpochOrder(self._counts, seed=seed, epoch=0, shuffle=False, mix_shards=mix_shards)  # refuse a wrong value now

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self._share)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        Call it before the workers start: each of them has its own copy of this object.
        """
        self.epoch = epoch

    def places(self) -> Iterator[tuple[int, int]]:
        """What this rank reads in this epoch, all workers together, as (shard, place in the shard)."""
        order = EpochOrder(
            self._counts, seed=self.seed, epoch=self.epoch, shuffle=self.shuffle, mix_shards=self.mix_shards
        )
        for start, stop in self._share:
            yield from order.walk(start, stop)

    def __iter__(self) -> Iterator[Clip]:
        info = get_worker_info()
        worker, num_workers = (0, 1) if info is None else (info.id, info.num_workers)
        if self._cache is not None and info is not None:
            raise ConfigError("cache_decoded keeps clips in this process, but num_workers > 0; set num_workers=0")
        readers = _OpenShards(self.index, self.mix_shards)
        try:
            for number, (shard, place) in enumerate(self.places()):
                if number // self.block % num_workers == worker:
                    yield self._load(readers, shard, place)
        finally:
            readers.close()

    def _load(self, readers: _OpenShards, shard: int, place: int) -> Clip:
        if self._cache is None:
            return readers[shard].load(place, self.profile)
        if (shard, place) not in self._cache:
            self._cache[shard, place] = readers[shard].load(place, self.profile)
        return self._cache[shard, place]


class _OpenShards:
    """The shards that are open; beyond ``limit`` the one that was used longest ago is closed."""

    def __init__(self, index: ShardIndex, limit: int) -> None:
        self._index = index
        self._limit = limit
        self._readers: OrderedDict[int, ShardReader] = OrderedDict()

    def __getitem__(self, shard: int) -> ShardReader:
        if shard not in self._readers:
            if len(self._readers) >= self._limit:
                self._readers.popitem(last=False)[1].close()
            info = self._index.shards[shard]
            self._readers[shard] = ShardReader(self._index.folder / info.name, info.samples)
        self._readers.move_to_end(shard)
        return self._readers[shard]

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
