"""Reads a still picture as the published code does: with Pillow, resized by its bicubic filter."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError, MediaError
from affectgpt.media.limits import MAX_PIXELS
from affectgpt.media.pictures.picture_header import is_whole_jpeg
from affectgpt.media.profile import MediaProfile


def read_picture(
    source: str | Path | bytes, profile: MediaProfile, name: str
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Read a picture file.

    The published code fails on pictures that are not RGB; here they are converted to RGB first.

    Args:
        source: A file, or its content.
        profile: Gives the size.
        name: The picture, for messages.

    Returns:
        uint8 ``[1, 3, H, W]``, and notes on damage.

    Raises:
        ConfigError: If Pillow is not installed.
        MediaError: If it cannot be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError(
            f"{name}: visual_policy 'official' reads pictures with Pillow ({error}); "
            "run pip install 'affectgpt[media]', or use the default policy"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is our limit
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
                squashed = picture.convert("RGB").resize((profile.frame_width, profile.frame_height))
                is_jpeg = picture.format == "JPEG"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"{name} cannot be read as a picture ({error}); fetch it again, or leave it out") from error
    notes: tuple[str, ...] = ()
    if is_jpeg and _is_damaged(source if isinstance(source, bytes) else Path(source).read_bytes()):
        notes = ("1 of 1 video frames are damaged",)  # Pillow fills what is missing with grey
    return np.asarray(squashed, dtype=np.uint8).transpose(2, 0, 1)[None].copy(), notes


def _is_damaged(content: bytes) -> bool:
    """Whether a JPEG is cut or has invalid bytes."""
    if not is_whole_jpeg(content):
        return True
    codec = av.CodecContext.create("mjpeg", "r")
    codec.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
    codec.thread_count = 1
    try:
        codec.decode(av.Packet(content))
    except av.InvalidDataError:
        return True
    except av.FFmpegError:  # a kind of JPEG that FFmpeg does not support
        return False
    return False
