"""Resamples a waveform with a windowed sinc, as the published code does."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

ZERO_CROSSINGS = 6
ROLLOFF = 0.99
MAX_KERNEL_VALUES = 2**23
"""Above this size (32 MiB) only the non-zero taps are stored.

The common rates stay below it; for 44,101 Hz, which has no common divisor with 16,000, a kernel has 706 million
values."""


def resample(waveform: Tensor, rate_hz: int, wanted_hz: int) -> Tensor:
    """Band-limited interpolation with a Hann window (Smith, Digital Audio Resampling; six zero crossings per side).

    Output sample ``m`` lies at the input position ``t = m * old / new``, where ``old / new`` is the ratio of the rates
    in lowest terms, and is the weighted sum of the input ``x`` around it:

        y[m] = sum over n of  x[n] * (c / old) * sinc(u) * cos(pi * u / 12) ** 2,  u = c / old * (n - t) in [-6, 6]

    with ``sinc(u) = sin(pi * u) / (pi * u)`` and the cut-off ``c = 0.99 * min(old, new)``. The weights repeat after
    ``new`` outputs, which are ``old`` inputs, so this is a strided convolution with ``new`` filters (phases).

    The result is that of ``torchaudio.functional.resample`` with its own defaults, bit for bit: the same float32
    operations in the same order. Only for unusual rates, whose kernel would take gigabytes (``MAX_KERNEL_VALUES``), the
    same products are added in another order.

    Args:
        waveform: float32 ``[C, N]``.
        rate_hz: Samples per second.
        wanted_hz: Samples per second of the result.

    Returns:
        float32 ``[C, ceil(N * wanted_hz / rate_hz)]``.
    """
    if rate_hz == wanted_hz:
        return waveform
    old, new = lowest_terms(rate_hz, wanted_hz)
    reach = reach_of(old, new)
    length = waveform.shape[1]
    padded = F.pad(waveform, (reach, reach + old))
    if new * (old + 2 * reach) > MAX_KERNEL_VALUES:
        phases = torch.stack([_convolve_sparsely(channel, old, new) for channel in padded])
    else:
        kernel = _kernel(old, new)
        phases = F.conv1d(padded[:, None], kernel, stride=old).transpose(1, 2)  # [C, N / old, new]
    return phases.reshape(len(waveform), -1)[:, : math.ceil(new * length / old)]


def lowest_terms(rate_hz: int, wanted_hz: int) -> tuple[int, int]:
    """The ratio of two rates in lowest terms.

    Examples:
        >>> lowest_terms(44_100, 16_000)
        (441, 160)
    """
    common = math.gcd(rate_hz, wanted_hz)
    return rate_hz // common, wanted_hz // common


def reach_of(old: int, new: int) -> int:
    """Number of input samples on each side of a position that its output sample depends on."""
    return math.ceil(ZERO_CROSSINGS * old / (min(old, new) * ROLLOFF))


@lru_cache(maxsize=4)
def _kernel(old: int, new: int) -> Tensor:
    """The filters of all ``new`` phases, float32 ``[new, 1, taps]``."""
    reach = reach_of(old, new)
    samples = torch.arange(-reach, reach + old, dtype=torch.float32) / old
    return _weights(torch.arange(0, -new, -1, dtype=torch.float32)[:, None] / new + samples, old, new)[:, None]


@lru_cache(maxsize=2)
def _sparse_kernel(old: int, new: int) -> tuple[Tensor, Tensor]:
    """For each phase, the start of its taps, int64 ``[new]``, and their weights, float32 ``[new, 2 * reach + 2]``.

    Phase ``p`` lies ``p * old / new`` samples after the first, so all but ``2 * reach + 2`` of its weights are zero.
    """
    reach = reach_of(old, new)
    first = torch.arange(new) * old // new
    taps = first[:, None] + torch.arange(2 * reach + 2)
    phase = torch.arange(0, -new, -1, dtype=torch.float32)[:, None] / new
    return first, _weights(phase + (taps - reach).to(torch.float32) / old, old, new)


def _weights(time: Tensor, old: int, new: int) -> Tensor:
    """Windowed sinc at distances in units of ``old`` input samples."""
    cutoff = min(old, new) * ROLLOFF
    time = (time * cutoff).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(time * math.pi / ZERO_CROSSINGS / 2) ** 2
    time = time * math.pi
    sinc = torch.where(time == 0, torch.tensor(1.0), time.sin() / time)
    return sinc * (window * (cutoff / old))


def _convolve_sparsely(padded: Tensor, old: int, new: int) -> Tensor:
    """Filter one channel with the taps of ``_sparse_kernel``: float32 ``[N / old, new]``."""
    first, weights = _sparse_kernel(old, new)
    reach = reach_of(old, new)
    num_blocks = (len(padded) - 2 * reach - old) // old + 1
    windows = F.pad(padded, (0, 2)).unfold(0, weights.shape[1], 1)
    return torch.stack([(windows[block * old + first] * weights).sum(1) for block in range(num_blocks)])
