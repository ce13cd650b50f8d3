"""Puts clips side by side into a ``Batch``; needs nothing but torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.types import SOURCES, Batch, Clip, Features, Modality


def collate(
    clips: Sequence[Clip],
    questions: Sequence[str],
    answers: Sequence[str] | None = None,
) -> Batch:
    """Make a batch from clips that may differ in length and inputs.

    Row i of every tensor is clip i; a key may occur twice, for example if a small set is drawn often.

    A source (or feature stream) that at least one clip has is in the batch. Clips that lack it get zeros and
    ``keep=False``; clips with fewer frames, segments or steps than the longest are padded the same way.

    Args:
        clips: B clips: visual sources uint8 ``[T, 3, H, W]``, audio float32 ``[S, N]``, features float ``[T, D]``, with
            T = 0 if the clip lacks the stream.
        questions: The question for each clip.
        answers: The answer to learn for each clip, or ``None`` if there is nothing to learn.

    Returns:
        The batch; in its ``keep`` masks ``True`` marks a real frame, segment or step.

    Raises:
        DataError: If the numbers differ, or the shapes of tensors do not match.

    Examples:
        >>> loud, mute = Clip("loud", {"audio": torch.ones(2, 4)}), Clip("mute")
        >>> batch = collate([loud, mute], ["How?", "How?"])
        >>> batch.media["audio"].shape, batch.keep["audio"].tolist()
        (torch.Size([2, 2, 4]), [[True, True], [False, False]])
    """
    if not clips:
        raise DataError("a batch needs at least one clip, but got none")
    for name, values in (("questions", questions), ("answers", answers)):
        if values is not None and (isinstance(values, str) or len(values) != len(clips)):
            raise DataError(f"{len(clips)} clips, but {name}={values!r}; give one for each clip")
    padded = {name: _pad(clips, name, "media") for name in _names([clip.media for clip in clips])}
    streams = {name: _pad(clips, name, "features") for name in _names([clip.features for clip in clips])}
    return Batch(
        keys=tuple(clip.key for clip in clips),
        media={name: value for name, (value, _) in padded.items()},
        keep={name: keep for name, (_, keep) in padded.items()},
        subtitles=tuple(clip.subtitle for clip in clips),
        questions=tuple(questions),
        answers=None if answers is None else tuple(answers),
        labels=tuple(tuple(clip.labels) for clip in clips),
        features={name: Features(hidden, keep) for name, (hidden, keep) in streams.items()},
    )


def _names(offers: Sequence[Mapping[str, Tensor]]) -> list[str]:
    """Every source of a clip, in order of first appearance."""
    return list(dict.fromkeys(name for offer in offers for name in offer))


def _pad(clips: Sequence[Clip], name: str, kind: str) -> tuple[Tensor, Tensor]:
    """One source of all clips: ``[B, T, ...]`` and keep ``[B, T]``."""
    offers = [clip.media if kind == "media" else clip.features for clip in clips]
    tensors = {row: offer[name] for row, offer in enumerate(offers) if name in offer}
    first_row, first = next(iter(tensors.items()))
    for row, tensor in tensors.items():
        _check(clips[row].key, name, kind, tensor)
        if tensor.shape[1:] != first.shape[1:] or tensor.dtype != first.dtype:
            raise DataError(
                f"clips {clips[first_row].key!r} and {clips[row].key!r} do not fit into one batch: {name!r} is "
                f"{_shape(first)} and {_shape(tensor)}; give all clips one size (frame_height, "
                "frame_width, segment_seconds of the media profile), or use batches of one"
            )
    longest = max(1, *(len(tensor) for tensor in tensors.values()))
    values = first.new_zeros(len(clips), longest, *first.shape[1:])
    keep = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, tensor in tensors.items():
        values[row, : len(tensor)] = tensor
        keep[row, : len(tensor)] = True
    return values, keep


def _check(key: str, name: str, kind: str, tensor: Tensor) -> None:
    modality = SOURCES.get(name) if kind == "media" else None
    if kind == "features":
        fits, expected = tensor.ndim == 2 and tensor.is_floating_point(), "float [time, width]"
    elif modality is Modality.VISUAL:
        fits = tensor.ndim == 4 and tensor.shape[1] == 3 and tensor.dtype == torch.uint8
        expected = "uint8 [time, 3, height, width]"
    elif modality is Modality.AUDIO:
        fits, expected = tensor.ndim == 2 and tensor.is_floating_point(), "float [segments, samples]"
    else:
        raise DataError(f"clip {key!r}: unknown media source {name!r}; known: {', '.join(SOURCES)}")
    if not fits or not (len(tensor) or kind == "features"):
        raise DataError(f"clip {key!r}: {name!r} must be {expected} with at least one step, but is {_shape(tensor)}")


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
