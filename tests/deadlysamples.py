"""Samples to encode of which some kill the process that reads them."""

from __future__ import annotations

from typing import Any

from affectgpt.features.encode_shards import _Samples
from deadlyclips import die_at


class DeadlySamples(_Samples):
    """Kills its process at the clips that the environment variable ``DEADLY_CLIPS`` names."""

    def __call__(self, shard_position: Any) -> Any:
        die_at(self._shards[0, shard_position[0]].key(shard_position[1]))
        return super().__call__(shard_position)
