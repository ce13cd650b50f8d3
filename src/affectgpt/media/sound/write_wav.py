"""Writes a decoded waveform as the bytes of a 16-bit WAV file, as models behind a server take sound."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def write_wav(waveform: Tensor, sample_rate_hz: int) -> bytes:
    """The bytes of a mono WAV file; values beyond [-1, 1] are cut off.

    Args:
        waveform: float32 ``[N]``, in [-1, 1].
        sample_rate_hz: Samples a second.

    Examples:
        >>> import torch
        >>> len(write_wav(torch.zeros(16_000), 16_000))  # a header of 44 bytes, and 2 bytes a sample
        32044
    """
    samples = (waveform.clamp(-1, 1) * 32767).round().numpy().astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate_hz)
        out.writeframes(samples.tobytes())
    return file.getvalue()
