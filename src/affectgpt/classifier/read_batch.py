"""Reads the batches of a data loader: a ``Batch`` of clips, or plain tensors with the number of each clip's class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from affectgpt.encoders.streams import StreamSpec
from affectgpt.errors import DataError
from affectgpt.types import Batch


def to_batch(given: Any, streams: Mapping[str, StreamSpec]) -> tuple[Batch, Tensor | None]:
    """Read a batch of clips, and the number of each clip's class if the loader gives numbers.

    Args:
        given: One of

            - a ``Batch``, whose ``labels`` say the classes;
            - ``(media, target)``: uint8 frames ``[B, T, 3, H, W]`` or float segments ``[B, S, N]`` for the only
              stream, or a mapping of the inputs' names to them; ``target`` int64 ``[B]``.
        streams: The classifier's streams.

    Raises:
        DataError: If it is none of these.
    """
    if isinstance(given, Batch):
        return given, None
    if not (isinstance(given, list | tuple) and len(given) == 2 and isinstance(given[1], Tensor)):
        raise DataError(
            f"a batch is an affectgpt.types.Batch, or a pair of media and class numbers, but got {type(given).__name__}"
        )
    media, target = given
    sources = sorted({str(spec.source) for spec in streams.values()})
    if isinstance(media, Tensor):
        if len(sources) > 1:
            raise DataError(f"the streams read {', '.join(sources)}; give a mapping of these names to their tensors")
        media = {sources[0]: media}
    missing = [name for name in media if name not in sources]
    if missing:
        raise DataError(f"no stream reads {missing[0]!r}; the streams read {', '.join(sources)}")
    keep = {name: torch.ones(value.shape[:2], dtype=torch.bool, device=value.device) for name, value in media.items()}
    num_clips = len(target)
    batch = Batch(
        keys=tuple(str(i) for i in range(num_clips)),
        media=media,
        keep=keep,
        subtitles=(None,) * num_clips,
        questions=("",) * num_clips,
    )
    return batch, target
