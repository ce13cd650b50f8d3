"""Reads samples each in a process of its own, where one of them may kill it."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import torch

from affectgpt.errors import AffectGPTError, DataError, reason_of
from affectgpt.manifests.record import SampleError
from affectgpt.media.isolation import map_in_order
from affectgpt.shards.open_shards import OpenShards
from affectgpt.streaming.stream import BadSample, SampleAddress, ShardStream
from affectgpt.types import Clip


def read_alone(
    stream: ShardStream, addresses: Iterable[SampleAddress], workers: int
) -> Generator[tuple[SampleAddress, Clip | BadSample]]:
    """The samples at some addresses, in order, read by processes of which each holds one sample at a time.

    One that kills its process is noted in ``stream.known_bad``, so that nobody reads it again.

    Args:
        stream: What they belong to; it must not keep decoded clips.
        addresses: The samples.
        workers: Processes.

    Raises:
        DataError: If a shard is broken; or a sample is, and the stream is not tolerant. Or if a process cannot be
            started.
    """
    readers = OpenShards(stream.indexes, stream.cache, stream.mix_shards)

    def crashed(address: SampleAddress, how: str) -> Clip | BadSample:
        key = stream.key_in_mixture(address, readers[address[:2]].key(address[2]))
        message = f"clip {key!r} kills the process that decodes it ({how}); pack the set again without it"
        bad = stream.bad(address, key, SampleError(key, "load", "crashed", message))
        stream.known_bad[address] = bad
        return bad

    addresses = list(addresses)
    try:
        yield from zip(addresses, map_in_order(_Read(stream), addresses, workers, crashed), strict=True)
    except RuntimeError as error:
        if isinstance(error, AffectGPTError):
            raise
        raise DataError(f"clips cannot be read in processes of their own: {reason_of(error)}") from error
    finally:
        readers.close()


class _Read:
    """Reads the sample at an address, on one thread; it can be sent to a process."""

    def __init__(self, stream: ShardStream) -> None:
        self._stream = stream
        self._readers: OpenShards | None = None

    def __call__(self, address: SampleAddress) -> Clip | BadSample:
        if self._readers is None:
            torch.set_num_threads(1)
            self._readers = OpenShards(self._stream.indexes, self._stream.cache, self._stream.mix_shards)
        return self._stream.load(self._readers, address)
