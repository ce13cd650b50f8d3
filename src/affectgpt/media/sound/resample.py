"""Resamples a waveform with a windowed sinc, as the published code does."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

ZERO_CROSSINGS = 6
ROLLOFF = 0.99


def resample(waveform: Tensor, rate_hz: int, wanted_hz: int) -> Tensor:
    """Band-limited interpolation with a Hann window (Smith, Digital Audio Resampling; six zero crossings a side).

    The result is that of ``torchaudio.functional.resample`` with its own defaults, bit for bit.

    Args:
        waveform: float32 ``[C, N]``.
        rate_hz: Samples a second.
        wanted_hz: Samples a second of the result.

    Returns:
        float32 ``[C, ceil(N * wanted_hz / rate_hz)]``.
    """
    if rate_hz == wanted_hz:
        return waveform
    common = math.gcd(rate_hz, wanted_hz)
    old, new = rate_hz // common, wanted_hz // common
    kernel, reach = _kernel(old, new)
    length = waveform.shape[1]
    padded = F.pad(waveform, (reach, reach + old))
    phases = F.conv1d(padded[:, None], kernel, stride=old)  # [C, new, N / old]: one row a place between two samples
    return phases.transpose(1, 2).reshape(len(waveform), -1)[:, : math.ceil(new * length / old)]


@lru_cache(maxsize=16)
def _kernel(old: int, new: int) -> tuple[Tensor, int]:
    """The filters of all ``new`` phases, float32 ``[new, 1, taps]``, and how far they reach to each side."""
    cutoff = min(old, new) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * old / cutoff)
    samples = torch.arange(-reach, reach + old, dtype=torch.float32) / old
    time = (torch.arange(0, -new, -1, dtype=torch.float32)[:, None] / new + samples) * cutoff
    time = time.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(time * math.pi / ZERO_CROSSINGS / 2) ** 2
    time = time * math.pi
    sinc = torch.where(time == 0, torch.tensor(1.0), time.sin() / time)
    return (sinc * (window * (cutoff / old)))[:, None], reach
