"""Puts clips side by side into a ``Batch``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from affectgpt.errors import ConfigError, DataError
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import SOURCES
from affectgpt.sources.base import Source, pad, shape_of
from affectgpt.types import Batch, Clip, Features, PreferencePair


def collate(
    clips: Sequence[Clip],
    questions: Sequence[str],
    answers: Sequence[str] | None = None,
    profile: MediaProfile | None = None,
) -> Batch:
    """Make a batch from clips that may differ in length and inputs.

    Row i of every tensor is clip i; a key may occur twice, for example if a small set is drawn often.

    A source (or feature stream) that at least one clip has is in the batch. Clips that lack it get zeros and
    ``keep=False``; clips with fewer frames, segments or steps than the longest are padded the same way.

    Args:
        clips: B clips: media as their sources make them, features float ``[T, D]``, with T = 0 if the clip lacks the
            stream.
        questions: The question for each clip.
        answers: The answer to learn for each clip, or ``None`` if there is nothing to learn.
        profile: How the clips were decoded; it may be left out if no source from a plug-in has settings.

    Returns:
        The batch; in its ``keep`` masks ``True`` marks a real frame, segment or step.

    Raises:
        DataError: If the numbers differ, or the shapes of tensors do not match.

    Examples:
        >>> import torch
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
    pairs = tuple(PreferencePair.of(clip) for clip in clips)
    sources = profile or MediaProfile()
    padded = {name: _collate(clips, name, sources) for name in _names([clip.media for clip in clips])}
    streams = {name: _collate(clips, name, None) for name in _names([clip.features for clip in clips])}
    return Batch(
        keys=tuple(clip.key for clip in clips),
        media={name: value for name, (value, _) in padded.items()},
        keep={name: keep for name, (_, keep) in padded.items()},
        subtitles=tuple(clip.subtitle for clip in clips),
        questions=tuple(questions),
        answers=None if answers is None else tuple(answers),
        labels=tuple(tuple(clip.labels) for clip in clips),
        features={name: Features(hidden, keep) for name, (hidden, keep) in streams.items()},
        pairs=pairs if any(pairs) else (),
    )


def _names(offers: Sequence[Mapping[str, Tensor]]) -> list[str]:
    """Every source of a clip, in order of first appearance."""
    return list(dict.fromkeys(name for offer in offers for name in offer))


def _collate(clips: Sequence[Clip], name: str, profile: MediaProfile | None) -> tuple[Tensor, Tensor]:
    """One source of all clips, or one feature stream if there is no profile: ``[B, T, ...]`` and keep ``[B, T]``."""
    offers = [clip.features if profile is None else clip.media for clip in clips]
    tensors = {row: offer[name] for row, offer in enumerate(offers) if name in offer}
    first_row, first = next(iter(tensors.items()))
    source = None if profile is None else _source(name, profile, clips[first_row])
    for row, tensor in tensors.items():
        if source is None and not (tensor.ndim == 2 and tensor.is_floating_point()):
            raise DataError(_misfit(clips[row], name, f"must be float [time, width], but is {shape_of(tensor)}"))
        if source is not None:
            try:
                source.check(tensor)
            except DataError as error:
                raise DataError(_misfit(clips[row], name, str(error))) from None
        if tensor.shape[1:] != first.shape[1:] or tensor.dtype != first.dtype:
            raise DataError(
                f"clips {clips[first_row].key!r} and {clips[row].key!r} do not fit into one batch: {name!r} is "
                f"{shape_of(first)} and {shape_of(tensor)}; give all clips one size (frame_height, "
                "frame_width, segment_seconds of the media profile), or use batches of one"
            )
    return pad(tensors, len(clips)) if source is None else source.collate(tensors, len(clips))


def _source(name: str, profile: MediaProfile, clip: Clip) -> Source:
    try:
        return profile.source(name)
    except ConfigError:
        if name in SOURCES:
            raise
    raise DataError(f"clip {clip.key!r}: unknown media source {name!r}; known: {', '.join(SOURCES)}")


def _misfit(clip: Clip, name: str, what: str) -> str:
    return f"clip {clip.key!r}: {name!r} {what}"
