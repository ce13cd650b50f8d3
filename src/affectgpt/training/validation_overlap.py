"""Tells whether a run validates on clips that it trains on, whose scores say little."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError, first_few
from affectgpt.shards.leak import list_set

MOST_SAMPLES = 200_000
"""Sets with more samples are not compared: their headers would take longer to read than a start should."""


def validation_overlap(data: Any) -> str | None:
    """A warning where validation clips, by their names, are in the training sets; ``None`` if none is.

    Args:
        data: A datamodule; see ``shared_clips``.
    """
    shared, total = shared_clips(data)
    if not shared:
        return None
    return (
        f"warning: {len(shared):,} of {total:,} validation clips are in the training set too "
        f"({first_few(shared, 3)}); the scores on them say little. affectgpt check VAL --against TRAIN lists them"
    )


def shared_clips(data: Any) -> tuple[tuple[str, ...], int]:
    """The validation clips that are in the training sets, by name, and the number of all validation clips.

    The headers of the shards are read, not the clips, once in a process. Sets at a URL, and very large ones, are not
    compared.

    Args:
        data: A datamodule; only one of shard folders is looked at.
    """
    if not hasattr(data, "indexes") or not getattr(data, "sets", {}).get("val") or not data.sets.get("train"):
        return (), 0
    train, val = data.indexes("train"), data.indexes("val")
    if any(index.url for index in (*train, *val)) or sum(index.samples for index in (*train, *val)) > MOST_SAMPLES:
        return (), 0
    return _compared(*(tuple((index.folder, index.digest) for index in indexes) for indexes in (train, val)))


@lru_cache(maxsize=1)
def _compared(train: tuple[tuple[Path, str], ...], val: tuple[tuple[Path, str], ...]) -> tuple[tuple[str, ...], int]:
    """The same of folders, each with the digest of what is in it, by which it is known again."""
    try:
        seen = {clip.name for folder, _ in train for clip in list_set(folder).clips}
        names = [clip.name for folder, _ in val for clip in list_set(folder).clips]
    except DataError:  # whoever reads the shards tells it better
        return (), 0
    return tuple(name for name in names if name in seen), len(names)
