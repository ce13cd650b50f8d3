"""Reads a still picture as the published code does: Pillow, squashed with its bicubic filter."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError, DataError
from affectgpt.media.profile import MediaProfile


def read_picture(source: str | Path | bytes, profile: MediaProfile, name: str) -> NDArray[np.uint8]:
    """Read a picture file.

    The published code fails on pictures that are not RGB; here they are made RGB first.

    Args:
        source: A file, or its content.
        profile: Gives the size.
        name: The picture, for messages.

    Returns:
        uint8 ``[1, 3, H, W]``.

    Raises:
        ConfigError: If Pillow is not installed.
        DataError: If it cannot be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError(
            f"{name}: visual_policy 'official' reads pictures with Pillow ({error}); "
            "run pip install 'affectgpt[media]', or use the default policy"
        ) from error
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            squashed = picture.convert("RGB").resize((profile.frame_width, profile.frame_height))
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read as a picture ({error}); fetch it again, or leave it out") from error
    return np.asarray(squashed, dtype=np.uint8).transpose(2, 0, 1)[None].copy()
