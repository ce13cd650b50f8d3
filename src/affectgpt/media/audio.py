"""Cuts a waveform into the windows that an audio encoder reads."""

from __future__ import annotations

import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.media.profile import MediaProfile


def segment_waveform(waveform: Tensor, profile: MediaProfile) -> tuple[Tensor, Tensor]:
    """Cut S windows, spread evenly from the first sample to the last.

    Window ``i`` starts at sample ``i * (length - N) // (S - 1)``: the first at 0, the last ending with the waveform;
    neighbours overlap where the clip is shorter than S windows. A waveform no longer than one window gives one real
    window, padded with zeros; the other S - 1 are zero and marked as such, so that a short clip is not heard S times.

    Args:
        waveform: float ``[N']``, mono, at ``profile.sample_rate_hz``.
        profile: Gives S (``num_segments``) and N (``segment_samples``).

    Returns:
        Segments, float32 ``[S, N]``, and keep, bool ``[S]``: ``True`` marks a window that holds audio.

    Raises:
        DataError: If the waveform is empty or not one-dimensional.

    Examples:
        >>> profile = MediaProfile(num_segments=3, segment_seconds=2.0, sample_rate_hz=1)
        >>> segment_waveform(torch.arange(6.0), profile)[0].tolist()
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    if waveform.ndim != 1 or not len(waveform):
        raise DataError(f"a waveform has the shape [samples] with at least one sample, but got {tuple(waveform.shape)}")
    num_segments, size = profile.num_segments, profile.segment_samples
    waveform = waveform.to(torch.float32)
    keep = torch.ones(num_segments, dtype=torch.bool)
    if len(waveform) <= size:
        segments = waveform.new_zeros(num_segments, size)
        segments[0, : len(waveform)] = waveform
        keep[1:] = False
        return segments, keep
    room = len(waveform) - size
    starts = [index * room // max(num_segments - 1, 1) for index in range(num_segments)]
    return torch.stack([waveform[start : start + size] for start in starts]), keep
