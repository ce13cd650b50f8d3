"""Writes a decoded frame as the bytes of a PNG or JPEG file, as models behind a server take pictures."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}
"""The forms that can be written, and their media types."""

_JPEG_SCALE = 2  # FFmpeg's scale from 1 (best) to 31


def write_picture(frame: Tensor, form: str = "png") -> bytes:
    """The bytes of a picture file.

    Args:
        frame: uint8 ``[3, H, W]``, RGB.
        form: ``png``, which keeps every value, or ``jpeg``, which is several times smaller.

    Raises:
        ConfigError: If there is no such form.

    Examples:
        >>> import torch
        >>> write_picture(torch.zeros(3, 8, 8, dtype=torch.uint8))[1:4]
        b'PNG'
    """
    if form not in MEDIA_TYPES:
        raise ConfigError(f"unknown picture format {form!r}; known: {', '.join(MEDIA_TYPES)}")
    pixels = np.ascontiguousarray(frame.numpy().transpose(1, 2, 0))
    picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    codec = av.VideoCodecContext.create("png" if form == "png" else "mjpeg", "w")
    codec.width, codec.height, codec.time_base = pixels.shape[1], pixels.shape[0], Fraction(1, 1)
    codec.pix_fmt = "rgb24" if form == "png" else "yuvj444p"
    if form == "jpeg":
        codec.qmin = codec.qmax = _JPEG_SCALE
        picture = picture.reformat(format="yuvj444p")
    packets = [*codec.encode(picture), *codec.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
