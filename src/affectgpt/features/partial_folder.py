"""An unfinished feature folder: one encoded shard for each input shard, which several processes fill and resume."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file, replace_folder, write_lines, write_whole
from affectgpt.manifests.record import SampleError
from affectgpt.shards.forms.features import FeatureRecipe
from affectgpt.shards.index import INDEX_FILE, ShardIndex, read_index
from affectgpt.shards.set_card import CARD_FILE, set_card
from affectgpt.shards.write import REJECTS_FILE, ShardWriter


@dataclass(frozen=True)
class EncodedShard:
    """The result of one input shard.

    Attributes:
        index: Index of its features; ``None`` if all samples were bad.
        rejects: Samples left out.
    """

    index: ShardIndex | None
    rejects: tuple[SampleError, ...]


class Draft:
    """The hidden folder ``.OUT.encoding`` beside ``out``.

    Each input shard becomes a shard folder of its own, which ``ShardWriter`` writes whole or not at all; ``publish``
    joins them. Any number of processes may work on different input shards, also when resuming after a kill.

    Args:
        out: Folder to create.
        recipe: The recipe of the features.
        num_shards: Number of input shards.
        overwrite: Replace ``out`` at the end, if it is a shard folder.

    Raises:
        ConfigError: If ``out`` exists.
        DataError: If an unfinished draft has another recipe.
    """

    def __init__(self, out: Path, recipe: FeatureRecipe, num_shards: int, *, overwrite: bool = False) -> None:
        self.out = out
        self.recipe = recipe
        self.num_shards = num_shards
        self.folder = out.parent / f".{out.name}.encoding"
        if out.exists() and not overwrite:
            raise ConfigError(f"{str(out)!r} already exists; choose another folder, or overwrite it (--overwrite)")
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INDEX_FILE).is_file())):
            raise ConfigError(f"{str(out)!r} is not a shard folder, so it is not overwritten; choose another folder")

    def writer(self, number: int) -> ShardWriter:
        """Open a writer for the encoded form of an input shard; remains of a killed run are discarded."""
        return ShardWriter(
            self._folder_of(number),
            form="features",
            recipe=self.recipe.to_json(),
            samples_per_shard=2**31,
            shard_bytes=2**62,
            restart=True,
        )

    def give_up(self, number: int, rejects: Sequence[SampleError]) -> None:
        """Record that all samples of an input shard are bad."""
        lines = [json.dumps(problem.to_json(), ensure_ascii=False) for problem in rejects]
        write_lines(self._empty(number), lines)

    def encoded(self, number: int) -> EncodedShard | None:
        """The finished encoded form of an input shard; ``None`` if it is not done yet.

        Raises:
            DataError: If it has another recipe, or its content was changed.
        """
        if self._empty(number).is_file():
            return EncodedShard(None, _read_rejects(self._empty(number)))
        folder = self._folder_of(number)
        if not folder.is_dir():
            return None
        index = read_index(folder)
        theirs = FeatureRecipe.of(index)
        if theirs != self.recipe:
            raise DataError(
                f"an unfinished run in {str(self.folder)!r} stored other features: "
                f"{_differences(self.recipe, theirs)}. Give the same model, input and type to resume it, or start "
                "again with --restart"
            )
        (shard,) = index.shards
        digest = digest_of_file(folder / shard.name)
        if digest != shard.sha256:
            raise DataError(
                f"{str(folder / shard.name)!r} was changed since it was written (sha256 {digest[:12]}, its index says "
                f"{shard.sha256[:12]}); start again with --restart"
            )
        return EncodedShard(index, _read_rejects(folder / REJECTS_FILE))

    def publish(self, provenance: dict[str, Any]) -> tuple[ShardIndex, tuple[SampleError, ...]]:
        """Join the encoded shards, all finished, into ``out``.

        Returns:
            The index, read back from disk, and every reject.

        Raises:
            DataError: If one is missing.
        """
        found = [self.encoded(number) for number in range(self.num_shards)]
        missing = [number for number, encoded in enumerate(found) if encoded is None]
        if missing:
            raise DataError(f"{len(missing)} of {self.num_shards} input shards are not encoded, such as {missing[0]}")
        done = [encoded for encoded in found if encoded is not None]
        rejects = tuple(problem for encoded in done for problem in encoded.rejects)
        indexes = [encoded.index for encoded in done if encoded.index is not None]
        assert indexes, "no budget allows every sample to be bad"
        joined = _join(indexes, provenance)
        whole = self.folder / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        for encoded, shard in zip(indexes, joined.shards, strict=True):
            _link(encoded.folder / encoded.shards[0].name, whole / shard.name)
        write_lines(whole / REJECTS_FILE, (json.dumps(r.to_json(), ensure_ascii=False) for r in rejects))
        write_whole(whole / CARD_FILE, set_card(joined, rejects))
        write_whole(whole / INDEX_FILE, json.dumps(joined.to_json(), ensure_ascii=False, indent=1) + "\n")
        replace_folder(whole, self.out, self.folder / "replaced")
        shutil.rmtree(self.folder)
        return read_index(self.out), rejects

    def restart(self) -> None:
        """Discard an unfinished run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"{number:06d}"

    def _empty(self, number: int) -> Path:
        return self.folder / f"{number:06d}.{REJECTS_FILE}"


def _join(indexes: Sequence[ShardIndex], provenance: dict[str, Any]) -> ShardIndex:
    """The index of several one-shard folders as one; with the shards renumbered."""
    labels, modalities = Counter[str](), Counter[str]()
    for index in indexes:
        labels.update(index.labels)
        modalities.update(index.modalities)
    shards = [replace(index.shards[0], name=f"shard-{number:06d}.tar") for number, index in enumerate(indexes)]
    return replace(
        indexes[0],
        shards=tuple(shards),
        labels=dict(sorted(labels.items(), key=lambda item: (-item[1], item[0]))),
        modalities={name: modalities[name] for name in indexes[0].modalities},
        duration_seconds=sum(index.duration_seconds for index in indexes),
        provenance=provenance,
    )


def _link(source: Path, target: Path) -> None:
    """Make a hard link, so that a kill loses nothing; a copy if links are not possible."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _read_rejects(path: Path) -> tuple[SampleError, ...]:
    if not path.is_file():
        return ()
    return tuple(SampleError.of(json.loads(line)) for line in path.read_text("utf-8").split("\n") if line)


def _differences(ours: FeatureRecipe, theirs: FeatureRecipe | None) -> str:
    if theirs is None:
        return "none at all"
    differences = [
        f"stream {name!r} ({ours.streams[name].digest} here, {key.digest} there): "
        + "; ".join(ours.streams[name].differences(key))
        for name, key in theirs.streams.items()
        if name in ours.streams and key != ours.streams[name]
    ]
    for what in ("dtype", "media_sources", "input"):
        if getattr(ours, what) != getattr(theirs, what):
            differences.append(f"{what}: {getattr(ours, what)!r} here, {getattr(theirs, what)!r} there")
    if set(ours.streams) != set(theirs.streams):
        differences.append(f"streams {', '.join(ours.streams)} here, {', '.join(theirs.streams)} there")
    return "; ".join(differences)
