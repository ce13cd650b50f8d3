"""Reads a whole media file: frames with their times, and the waveform, for code that does not need a ``Clip``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.media.decode.decoder import decode_views
from affectgpt.media.decode.views import View
from affectgpt.media.profile import MediaProfile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class ClipMedia:
    """The media of a file.

    Attributes:
        frames: uint8 ``[T, 3, H, W]``, RGB, upright; ``None`` if the file has no pictures.
        frame_times: When each frame is shown, in seconds; as many as frames.
        waveform: float32 ``[N]``, mono, in [-1, 1], the whole sound; ``None`` if there is none.
        sample_rate_hz: Samples per second of the waveform.
        duration_seconds: Length of the longer track; 0 for a picture.
        missing: ``"visual"`` or ``"audio"`` to the reason why the file lacks it.
        notes: What was skipped, cut, replaced or clipped, in words.
    """

    frames: Tensor | None
    frame_times: tuple[float, ...]
    waveform: Tensor | None
    sample_rate_hz: int
    duration_seconds: float
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_clip(
    source: str | Path | bytes,
    *,
    num_frames: int | None = 8,
    size: tuple[int, int] | None = None,
    sample_rate_hz: int = 16_000,
    key: str | None = None,
) -> ClipMedia:
    """Read the frames and the whole waveform of a video, a sound or a picture.

    Args:
        source: A file, or its content.
        num_frames: Number of frames, taken at the middle of as many equal intervals; ``None`` takes every frame.
        size: Height and width of the frames; ``None`` keeps their own.
        sample_rate_hz: Samples per second of the waveform.
        key: A name for messages.

    Raises:
        ConfigError: If an argument is out of range.
        MediaError: If the file cannot be decoded, or is too large, see ``affectgpt.media.limits``.

    Examples:
        >>> import io, wave
        >>> file = io.BytesIO()
        >>> with wave.open(file, "wb") as out:
        ...     out.setparams((1, 2, 8000, 0, "NONE", None))
        ...     out.writeframes(bytes(2 * 8000))
        >>> heard = read_clip(file.getvalue())
        >>> tuple(heard.waveform.shape), heard.sample_rate_hz, heard.frames
        ((16000,), 16000, None)
    """
    height, width = size or (0, 0)
    profile = MediaProfile(
        num_frames=1 if num_frames is None else num_frames,
        frame_height=height,
        frame_width=width,
        sample_rate_hz=sample_rate_hz,
    )
    (decoded,) = decode_views(source, [View(profile, every_frame=num_frames is None)], key)
    return ClipMedia(
        frames=decoded.frames,
        frame_times=decoded.frame_times if decoded.frames is not None else (),
        waveform=decoded.waveform,
        sample_rate_hz=sample_rate_hz,
        duration_seconds=decoded.duration_seconds,
        missing=decoded.missing,
        notes=decoded.notes,
    )
