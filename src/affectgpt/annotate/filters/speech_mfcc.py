"""Mel-frequency cepstra as the active speaker networks were trained on: those of the package python_speech_features.

torchaudio's differ in window, filters and scale, so that the published weights cannot be used with them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATE_HZ, WINDOW, STEP, FFT = 16_000, 400, 160, 512
NUM_FILTERS, NUM_CEPSTRA, LIFTER, PREEMPHASIS = 26, 13, 22, 0.97
_EPS = float(np.finfo(float).eps)


def speech_mfcc(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """13 cepstra for every 10 ms.

    Args:
        samples: Mono, 16 kHz, on the scale of 16-bit integers, ``[N]``.

    Returns:
        float32 ``[F, 13]``; the first of them is the logarithm of the frame's energy.
    """
    emphasised = np.append(samples[:1], samples[1:] - PREEMPHASIS * samples[:-1])
    count = 1 + max(0, int(np.ceil((len(emphasised) - WINDOW) / STEP)))
    padded = np.zeros((count - 1) * STEP + WINDOW)
    padded[: len(emphasised)] = emphasised[: len(padded)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2 / FFT
    energy = np.maximum(power.sum(1), _EPS)
    filtered = np.log(np.maximum(power @ _filters().T, _EPS))
    cepstra = filtered @ _cosines()
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(NUM_CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(energy)
    return cepstra.astype(np.float32)


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float64]:
    """Triangles that are equally wide in mel, ``[filters, bins]``."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), NUM_FILTERS + 2)
    edges = np.floor((FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE_HZ).astype(int)
    filters = np.zeros((NUM_FILTERS, FFT // 2 + 1))
    for row, (left, middle, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = np.arange(left, middle), np.arange(middle, right)
        filters[row, rising] = (rising - left) / (middle - left) if middle > left else 0
        filters[row, falling] = (right - falling) / (right - middle) if right > middle else 0
    return filters


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The orthonormal discrete cosine transform (type 2), ``[filters, cepstra]``."""
    position = (np.arange(NUM_FILTERS) + 0.5) * np.pi / NUM_FILTERS
    cosines: NDArray[np.float64] = np.cos(position[:, None] * np.arange(NUM_CEPSTRA)) * np.sqrt(2 / NUM_FILTERS)
    cosines[:, 0] /= np.sqrt(2)
    return cosines
