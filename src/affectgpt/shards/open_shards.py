"""Keeps a limited number of shards open for reading."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from affectgpt.errors import DataError
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.forms.features import FeatureRecipe
from affectgpt.shards.index import ShardIndex
from affectgpt.shards.read import ShardReader


class OpenShards:
    """The open shards; beyond ``limit`` shards of one set, the least recently used one is closed."""

    def __init__(self, indexes: Sequence[ShardIndex], cache: ShardCache, limit: int) -> None:
        self._indexes = indexes
        self._cache = cache
        self._limit = limit
        self._recipes = [FeatureRecipe.of(index) for index in indexes]
        self._readers: list[OrderedDict[int, ShardReader]] = [OrderedDict() for _ in indexes]

    def __getitem__(self, number: tuple[int, int]) -> ShardReader:
        part, shard = number
        readers = self._readers[part]
        if shard not in readers:
            if len(readers) >= self._limit:
                readers.popitem(last=False)[1].close()
            readers[shard] = self._open(part, shard)
        readers.move_to_end(shard)
        return readers[shard]

    def _open(self, part: int, shard: int) -> ShardReader:
        index = self._indexes[part]
        info = index.shards[shard]
        while True:
            path = self._cache.path(index, info)
            try:
                return ShardReader(path, info.samples, self._recipes[part])
            except DataError:
                if path.exists() or not index.url:
                    raise
                # another process removed the shard between our look-up and opening it

    def close(self) -> None:
        """Close all."""
        for readers in self._readers:
            for reader in readers.values():
                reader.close()
            readers.clear()
