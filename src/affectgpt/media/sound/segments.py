"""Cuts a waveform into the windows that an audio encoder reads."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import DataError
from affectgpt.media.profile import MediaProfile


def segment_waveform(waveform: Tensor, profile: MediaProfile) -> tuple[Tensor, Tensor]:
    """Cut S windows.

    By default they spread evenly from the first sample to the last.

    Window ``i`` starts at sample ``i * (length - N) // (S - 1)``: the first at 0, the last ending with the waveform;
    neighbours overlap if the clip is shorter than S windows. A waveform no longer than one window gives one real
    window, padded with zeros; the other S - 1 are zero and marked as such, so that a short clip is not repeated S
    times.

    The official policy cuts at ``official_starts``, pads a short waveform and repeats it S times, and subtracts the
    mean of each window.

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
        raise DataError(
            f"expected a waveform of shape [samples] with at least one sample, but got {tuple(waveform.shape)}"
        )
    num_segments, size = profile.num_segments, profile.segment_samples
    waveform = waveform.to(torch.float32)
    if profile.audio_policy == "official":
        waveform = F.pad(waveform, (0, max(0, size - len(waveform))))
    elif len(waveform) <= size:
        keep = torch.zeros(num_segments, dtype=torch.bool)
        keep[0] = True
        segments = waveform.new_zeros(num_segments, size)
        segments[0, : len(waveform)] = waveform
        return segments, keep
    windows = torch.stack([waveform[start : start + size] for start in window_starts(len(waveform), profile)])
    return finish_windows(windows, profile), torch.ones(num_segments, dtype=torch.bool)


def window_starts(num_samples: int, profile: MediaProfile) -> list[int]:
    """First sample of each window in a waveform that is at least as long as one."""
    if profile.audio_policy == "official":
        return official_starts(num_samples, profile)
    room = num_samples - profile.segment_samples
    return [index * room // max(profile.num_segments - 1, 1) for index in range(profile.num_segments)]


def finish_windows(windows: Tensor, profile: MediaProfile) -> Tensor:
    """Finish the windows, float32 ``[S, N]``: the official policy subtracts their means."""
    if profile.audio_policy != "official":
        return windows
    # one by one: the mean over a dimension of a stack may round differently
    return torch.stack([window - window.mean() for window in windows])


def official_starts(num_samples: int, profile: MediaProfile) -> list[int]:
    """First sample of each window in the published code; the last window ends before the waveform does.

    Window i starts at ``floor(room / S * i * rate)``, where the room in seconds, ``length / rate - N / rate``, is
    rounded to float64 and then used exactly. This makes some starts one less than integer arithmetic would.

    Examples:
        >>> official_starts(55357, MediaProfile())
        [0, 2919, 5839, 8758, 11678, 14598, 17517, 20437]
    """
    room_seconds = Fraction(max(num_samples / profile.sample_rate_hz - profile.segment_seconds, 0))
    step_seconds = room_seconds / profile.num_segments
    return [int(step_seconds * index * profile.sample_rate_hz) for index in range(profile.num_segments)]
