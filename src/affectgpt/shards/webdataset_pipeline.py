"""Decoded clips as a plain ``webdataset`` pipeline, for people who compose their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import webdataset

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.media.profile import MediaProfile
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.forms.features import FeatureRecipe
from affectgpt.shards.forms.frames import check_index
from affectgpt.shards.index import ShardIndex, read_index
from affectgpt.shards.read import load_sample
from affectgpt.types import Clip


def webdataset_pipeline(
    urls: str | Path | ShardIndex | Sequence[str],
    profile: MediaProfile | Mapping[str, Any] | str | None = None,
    *,
    shardshuffle: int = 0,
    handler: Callable[[Exception], bool] = webdataset.reraise_exception,
    cache: ShardCache | None = None,
) -> webdataset.DataPipeline:
    """Read shards with WebDataset's own loader, decoded into ``Clip`` objects.

    The result is an ordinary ``webdataset`` pipeline: compose it with ``.shuffle()``, ``.batched()``, ``.map()`` and
    ``WebLoader``. Shards are divided among ranks, and then among the workers of a rank, so there must be at least as
    many shards as workers on all ranks. ``ShardStream`` adds what this lacks: epochs of equal length on all ranks, and
    exact resume.

        clips = webdataset_pipeline("shards/train", shardshuffle=100).shuffle(1000)
        loader = webdataset.WebLoader(clips.batched(8, collation_fn=list), batch_size=None, num_workers=4)

    Args:
        urls: A shard folder or its URL, whose index is read and whose remote shards are fetched and verified as by
            ``ShardStream``; or tars in WebDataset's notation, ``"shards/shard-{000000..000041}.tar"``, or a list of
            them, which WebDataset opens itself. Shards of features need the folder.
        profile: How clips are decoded; see ``MediaProfile.of``.
        shardshuffle: Size of the buffer in which shards are shuffled; 0 keeps their order.
        handler: WebDataset's handler for errors of a sample; by default they are raised.
        cache: Where the shards of a remote folder are kept.

    Raises:
        ConfigError: If there are no shards, or the folder has frames of another media profile.
        DataError: If the folder is not whole. While iterating: if a clip cannot be decoded.
    """
    chosen = MediaProfile.of(profile)
    index = urls if isinstance(urls, ShardIndex) else None
    if isinstance(urls, str | Path) and not str(urls).partition("?")[0].endswith(".tar"):
        index = read_index(urls)
    if index is not None:
        check_index(index, chosen)
        names, opener = [shard.name for shard in index.shards], _Open(index, cache or ShardCache())
    else:
        assert not isinstance(urls, ShardIndex)
        names = webdataset.shardlists.expand_source(str(urls) if isinstance(urls, Path) else urls)
        opener = webdataset.pipelinefilter(webdataset.tariterators.url_opener)(handler=handler)
    if not names:
        raise ConfigError("no shards: give a shard folder, or the names of tars")
    return (
        webdataset.FluidWrapper(webdataset.SimpleShardList(names))
        .compose(webdataset.split_by_node, webdataset.split_by_worker)
        .compose(*([webdataset.shuffle(shardshuffle)] if shardshuffle else []))
        .compose(opener, webdataset.pipelinefilter(webdataset.tariterators.tar_file_expander)(handler=handler))
        .compose(webdataset.pipelinefilter(webdataset.tariterators.group_by_keys)(handler=handler))
        .map(_Decode(chosen, None if index is None else FeatureRecipe.of(index)), handler=handler)
    )


class _Open:
    """A stage that opens the shards of a folder; those of a remote folder are fetched and verified first."""

    def __init__(self, index: ShardIndex, cache: ShardCache) -> None:
        self._index, self._cache = index, cache
        self._shards = {shard.name: shard for shard in index.shards}

    def __call__(self, urls: Iterable[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
        for entry in urls:
            with self._cache.path(self._index, self._shards[entry["url"]]).open("rb") as stream:
                yield {"url": entry["url"], "stream": stream}


class _Decode:
    """Makes a clip from a WebDataset sample; a picklable object, for workers of any start method."""

    def __init__(self, profile: MediaProfile, recipe: FeatureRecipe | None) -> None:
        self.profile, self.recipe = profile, recipe

    def __call__(self, sample: Mapping[str, Any]) -> Clip:
        key = sample["__key__"]
        members = {suffix: content for suffix, content in sample.items() if not suffix.startswith("__")}
        try:
            where = f"in shard {Path(sample['__url__']).name!r}"
            return load_sample(key, members, self.profile, self.recipe, where)
        except SampleError as error:
            raise DataError(str(error)) from error  # torch could not rebuild a SampleError from a worker's message
