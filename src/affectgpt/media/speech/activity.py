"""Finds where somebody speaks: Silero VAD, offline, with the weights in its package."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError
from affectgpt.media.speech.base import SAMPLE_RATE_HZ, Segment

SILENCE_RMS = 1e-4
"""Below this root mean square (-80 dB of full scale) a waveform is silent; no recording is that quiet."""


def speech_segments(waveform: Tensor, *, threshold: float = 0.5, shortest_seconds: float = 0.25) -> list[Segment]:
    """Find the stretches in which somebody speaks.

    Args:
        waveform: float32 ``[N]``, mono, 16 kHz.
        threshold: Least probability of speech.
        shortest_seconds: Shorter stretches are left out.

    Returns:
        The stretches in order of time; none in silence, noise or music without singing.

    Raises:
        ConfigError: If ``silero-vad`` is not installed.
        DataError: If the waveform has a wrong shape.
    """
    if waveform.ndim != 1:
        raise DataError(f"expected a waveform of shape [samples], but got {tuple(waveform.shape)}")
    if is_silent(waveform):
        return []
    find, network = _detector()
    found = find(
        waveform.to(torch.float32).cpu(),
        network,
        threshold=threshold,
        sampling_rate=SAMPLE_RATE_HZ,
        min_speech_duration_ms=round(1000 * shortest_seconds),
    )
    return [Segment(stretch["start"] / SAMPLE_RATE_HZ, stretch["end"] / SAMPLE_RATE_HZ) for stretch in found]


def is_silent(waveform: Tensor) -> bool:
    """Whether a waveform is empty or has no sound at all.

    Examples:
        >>> is_silent(torch.zeros(16_000)), is_silent(torch.full((4,), 0.1))
        (True, False)
    """
    return not len(waveform) or float(waveform.float().square().mean().sqrt()) < SILENCE_RMS


@lru_cache(maxsize=1)
def _detector() -> tuple[Any, Any]:
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the package still loads TorchScript
            from silero_vad import get_speech_timestamps, load_silero_vad

            return get_speech_timestamps, load_silero_vad()
    except ImportError as error:
        raise ConfigError(f"finding speech needs silero-vad ({error}); run pip install 'affectgpt[speech]'") from error
    finally:
        torch.set_num_threads(threads)  # importing silero_vad sets it to one for the whole process
