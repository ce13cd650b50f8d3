"""Encodes the clips of a shard folder once; each process encodes its share of the shards."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch

from affectgpt.encoders.build import remember
from affectgpt.encoders.feature_key import is_from_file
from affectgpt.errors import ConfigError, DataError
from affectgpt.features.encoder_set import EncoderSet
from affectgpt.features.feeding import feature_key
from affectgpt.features.partial_folder import Draft
from affectgpt.manifests.record import SampleError
from affectgpt.media.isolation import map_in_order
from affectgpt.media.profile import MediaProfile
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.forms.features import FEATURES_SUFFIX, FeatureRecipe, write_features
from affectgpt.shards.forms.frames import check_index
from affectgpt.shards.index import ShardIndex, read_index
from affectgpt.shards.open_shards import OpenShards
from affectgpt.shards.read import load_sample
from affectgpt.shards.tar_writer import Sample
from affectgpt.streaming.bad_samples import check_fraction, check_share
from affectgpt.types import Clip

_REMEDY = "Repair the clips, pack the set without them, or raise the budget; finished shards are kept"

ShardPosition = tuple[int, int]
"""Number of an input shard, and a position in it."""


@dataclass(frozen=True)
class EncodeReport:
    """The result of encoding.

    Attributes:
        index: The feature folder.
        rejects: Samples left out, with the reason.
        encoded: Number of clips that this run encoded, over all ranks; an earlier run did the rest.
        seconds: Seconds that it took, without loading the encoders.
    """

    index: ShardIndex
    rejects: tuple[SampleError, ...]
    encoded: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the report."""
        return {
            "folder": str(self.index.folder),
            "streams": {name: key.digest for name, key in _recipe(self.index).streams.items()},
            "dtype": _recipe(self.index).dtype,
            "samples": self.index.samples,
            "shards": len(self.index.shards),
            "bytes": self.index.bytes,
            "bytes_per_clip": round(self.index.bytes / self.index.samples),
            "rejects": len(self.rejects),
            "encoded": self.encoded,
            "seconds": round(self.seconds, 3),
            "clips_per_second": round(self.encoded / self.seconds, 2) if self.seconds else None,
        }


def encode(
    encoders: EncoderSet,
    source: str | Path,
    out: str | Path,
    *,
    dtype: str = "float16",
    batch_size: int = 16,
    num_workers: int = 0,
    bad_sample_budget: float = 0.001,
    overwrite: bool = False,
    restart: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> EncodeReport:
    """Encode the clips of a shard folder, and store their features as another.

    Every input shard gives one shard, with the samples in the same order and with the same text. Several processes
    (``torchrun``) divide the shards among them. A killed run continues where it stopped: finished shards are verified
    and kept, and the result is byte for byte the same.

    Args:
        encoders: The encoders, on their device.
        source: A shard folder of whole clips or of ready frames and sound, or its URL.
        out: Folder to create.
        dtype: ``float16``, ``bfloat16`` or ``float32``; see ``write_features``.
        batch_size: Number of clips to encode at a time.
        num_workers: Processes that decode, for each process that encodes.
        bad_sample_budget: Fraction of the samples that may be bad. Each is listed in ``rejects.jsonl``; with more, the
            run stops.
        overwrite: Replace ``out`` at the end, if it is a shard folder.
        restart: Discard an unfinished run into ``out``.
        progress: Called with the number of samples done and the number of all, on this process.

    Raises:
        ConfigError: If ``out`` exists, an argument is invalid, or ``source`` has frames of another media profile.
        DataError: If the folder is broken, already has features, or too many samples are bad.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}, but a batch has at least one clip")
    check_fraction(bad_sample_budget)
    index = read_index(source)
    recipe = _new_recipe(encoders, index, dtype)
    draft = Draft(Path(out), recipe, len(index.shards), overwrite=overwrite)
    rank, world = rank_and_world()
    if restart and rank == 0:
        draft.restart()
    _wait(world)
    mine = range(rank, len(index.shards), world)
    found = {number: draft.encoded(number) for number in mine}
    todo = [number for number, encoded in found.items() if encoded is None]
    bad = sum(len(encoded.rejects) for encoded in found.values() if encoded)
    total = sum(index.shards[number].samples for number in mine)
    done = encoded = total - sum(index.shards[number].samples for number in todo)
    if progress is not None:
        progress(done, total)
    start = time.perf_counter()
    batches = _batches(index, todo, encoders, batch_size, num_workers)
    for number in todo:
        rejects: list[SampleError] = []
        with draft.writer(number) as writer:
            left = index.shards[number].samples
            while left:
                items = next(batches)
                for item in _encoded(encoders, items, recipe):
                    if isinstance(item, SampleError):
                        bad += 1
                        check_share(bad, index.samples, bad_sample_budget, str(item), _REMEDY)
                        rejects.append(item)
                        writer.reject(item)
                    else:
                        writer.write(item)
                left, done = left - len(items), done + len(items)
                if progress is not None:
                    progress(done, total)
            if len(rejects) < index.shards[number].samples:
                writer.finish()
        if len(rejects) == index.shards[number].samples:
            draft.give_up(number, rejects)
    seconds = time.perf_counter() - start
    encoded = _sum(done - encoded, world)
    check_share(_sum(bad, world), index.samples, bad_sample_budget, "", _REMEDY)
    if rank == 0:
        joined, listed = draft.publish({**index.provenance, **_seed(encoders), "encoded_from": _name(index)})
    _wait(world)
    if rank != 0:
        joined, listed = read_index(out), ()
    return EncodeReport(joined, listed, encoded, seconds)


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of processes, set by ``torchrun``; starts the process group."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return rank, world


@dataclass(frozen=True)
class _Item:
    """A decoded sample: its clip, its text, and the members to keep."""

    key: str
    clip: Clip
    facts: dict[str, Any]
    members: dict[str, bytes]


class _Samples:
    """The samples of a shard folder by shard and position, decoded; it can be sent to a process."""

    def __init__(self, index: ShardIndex, media: MediaProfile, keep_media: bool) -> None:
        self.index, self.media, self.keep_media = index, media, keep_media
        self._shards = OpenShards([index], ShardCache(), limit=1)

    def crashed(self, shard_position: ShardPosition, how: str) -> SampleError:
        """What stands for a sample that kills the process that decodes it."""
        number, position = shard_position
        key = self._shards[0, number].key(position)
        message = f"clip {key!r} kills the process that decodes it ({how}) [{self.index.shards[number].name}]"
        return SampleError(key, "encode", "crashed", message)

    def __call__(self, shard_position: ShardPosition) -> _Item | SampleError:
        """Read and decode the sample at a position."""
        number, position = shard_position
        where = f"sample {position} of {self.index.shards[number].name}"
        try:
            key, members = self._shards[0, number].read(position)
            clip = load_sample(key, members, self.media, None, where)
        except SampleError as error:
            return SampleError(error.key, "encode", error.code, str(error))
        kept = {suffix: content for suffix, content in members.items() if suffix != "json"} if self.keep_media else {}
        return _Item(key, clip, json.loads(members["json"]), kept)


def _encoded(
    encoders: EncoderSet, items: Sequence[_Item | SampleError], recipe: FeatureRecipe
) -> Iterator[Sample | SampleError]:
    """The samples of a batch with their features, in order; bad ones as their faults."""
    features = iter(encoders.encode([item.clip for item in items if isinstance(item, _Item)]))
    for item in items:
        if isinstance(item, SampleError):
            yield item
            continue
        try:
            content = write_features(next(features), recipe, item.key)
        except DataError as error:
            yield SampleError(item.key, "encode", "not_finite", str(error))
            continue
        yield Sample(item.key, {**item.members, FEATURES_SUFFIX: content}, item.facts)


def _batches(
    index: ShardIndex, shards: Sequence[int], encoders: EncoderSet, batch_size: int, num_workers: int
) -> Iterator[list[_Item | SampleError]]:
    """Decoded samples in batches that end with their shard, so that a resumed run makes the same batches.

    With workers a sample that kills its process is a bad one, and the run goes on.
    """
    batches = [
        [(number, position) for position in range(first, min(first + batch_size, index.shards[number].samples))]
        for number in shards
        for first in range(0, index.shards[number].samples, batch_size)
    ]
    samples = _Samples(index, encoders.media, keep_media=bool(encoders.media_sources))
    positions = [position for batch in batches for position in batch]
    found = map_in_order(_OnOneThread(samples) if num_workers else samples, positions, num_workers, samples.crashed)
    for batch in batches:
        yield [next(found) for _ in batch]


class _OnOneThread:
    """Decodes on one thread, where several processes decode."""

    def __init__(self, samples: _Samples) -> None:
        self.samples = samples

    def __call__(self, shard_position: ShardPosition) -> _Item | SampleError:
        torch.set_num_threads(1)
        return self.samples(shard_position)


def _new_recipe(encoders: EncoderSet, index: ShardIndex, dtype: str) -> FeatureRecipe:
    if index.form == "features":
        raise DataError(f"{index.location!r} already has features; give the folder of clips that they came from")
    check_index(index, encoders.media)
    keys = {name: feature_key(encoders, name) for name in encoders.specs}
    for name, key in keys.items():
        if key is not None:
            remember(encoders.specs[name].encoder, key.encoder)  # so that training need not load the encoder at all
    return FeatureRecipe(
        streams={name: key for name, key in keys.items() if key is not None},
        dtype=dtype,
        media=encoders.media,
        media_sources=encoders.media_sources,
        input={"form": index.form, "recipe": dict(index.recipe), "shards": f"sha256:{index.digest[:16]}"},
    )


def _seed(encoders: EncoderSet) -> dict[str, int]:
    """The seed of random weights, if any weights come neither from a file nor from a checkpoint."""
    drawn = any(
        not is_from_file(encoders.encoder(name)) and not encoders.encoder(name).was_trained for name in encoders.specs
    )
    seed = os.environ.get("PL_GLOBAL_SEED", "")
    return {"seed": int(seed)} if drawn and seed.isdecimal() else {}


def _name(index: ShardIndex) -> str:
    """The last component of a path or URL; the rest may contain secrets."""
    return PurePosixPath(urlsplit(index.url).path).name if index.url else index.folder.name


def _recipe(index: ShardIndex) -> FeatureRecipe:
    recipe = FeatureRecipe.of(index)
    assert recipe is not None
    return recipe


def _wait(world: int) -> None:
    if world > 1:
        torch.distributed.barrier()


def _sum(value: int, world: int) -> int:
    total = torch.tensor(value)
    if world > 1:
        torch.distributed.all_reduce(total)
    return int(total)
