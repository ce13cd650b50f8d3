"""Checks the tracks of an open file against the limits, before memory is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from av.stream import Stream

from affectgpt.media.decode.views import View
from affectgpt.media.limits import (
    MAX_CHANNELS,
    MAX_FRAMES_BYTES,
    MAX_PIXELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    beyond,
)
from affectgpt.types import Modality


def beyond_limits(stream: Stream, views: Sequence[View], *, picture: bool) -> str | None:
    """Why a track is beyond a limit, as a clause for a message; ``None`` if it is within all limits.

    Args:
        stream: The track.
        views: The views that need it.
        picture: Whether the file is a still picture.
    """
    codec: Any = stream.codec_context
    if stream.type == "audio":
        if codec.channels > MAX_CHANNELS:
            return beyond(f"its sound has {codec.channels} channels", "MAX_CHANNELS")
        if codec.sample_rate > MAX_RATE_HZ:
            return beyond(f"its sound has {codec.sample_rate:,} samples per second", "MAX_RATE_HZ")
        if 0 < codec.sample_rate < MIN_RATE_HZ:
            return beyond(f"its sound has {codec.sample_rate} samples per second", "MIN_RATE_HZ")
        return None
    pixels = codec.width * codec.height
    if pixels > MAX_PIXELS:
        return beyond(f"its pictures have {codec.width:,} x {codec.height:,} pixels", "MAX_PIXELS")
    for profile in (view.profile for view in views if view.profile.wants(Modality.VISUAL)):
        width, height = profile.frame_width or codec.width, profile.frame_height or codec.height
        num_bytes = 3 * width * height * (1 if picture else profile.num_frames)
        if num_bytes > MAX_FRAMES_BYTES:
            what = f"{profile.num_frames} frames of {width:,} x {height:,} pixels need {num_bytes:,} bytes"
            return beyond(what, "MAX_FRAMES_BYTES")
    return None
