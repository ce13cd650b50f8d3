"""Collects the samples of a waveform in one pass: all of them up to a limit, or those of some windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

USUAL_PEAK = 1.12
"""1 dB above full scale: codecs and resampling overshoot this much if a recording uses the whole scale.

Clipping that removes no more than this is not reported. The published code does not clip, so the official policy leaves
a waveform below this peak unchanged.
"""


class Collector:
    """Collects a waveform, or windows of it.

    A number that is not finite becomes 0, and values beyond full scale become -1 or 1; both are noted.

    Args:
        most_samples: Most samples to keep; a longer waveform is counted but not kept.
        most_peak: Peak up to which nothing is clipped.
        starts: First samples of the windows to keep instead.
        size: Samples in a window.
    """

    def __init__(
        self, most_samples: int, most_peak: float = 1.0, starts: Sequence[int] | None = None, size: int = 0
    ) -> None:
        self.num_samples = 0
        self._most_samples, self._most_peak = most_samples, most_peak
        self._starts = starts
        self._size = size
        self._chunks: list[NDArray[np.float32]] = []
        self._windows = np.zeros((len(starts or ()), size), np.float32)
        self._num_not_finite = 0
        self._peak = 0.0

    @property
    def is_too_long(self) -> bool:
        """Whether there were more samples than may be held."""
        return self._starts is None and self.num_samples > self._most_samples

    def skip_to(self, position: int) -> None:
        """Continue at a later sample; no window needs those in between."""
        self.num_samples = position

    def add(self, chunk: NDArray[np.float32]) -> None:
        """Take the next samples, float32 ``[N]``."""
        start, self.num_samples = self.num_samples, self.num_samples + len(chunk)
        if self._starts is None:
            if self.is_too_long:
                self._chunks = []
            else:
                self._chunks.append(chunk)
            return
        chunk = self._clean(chunk)
        for window, first in zip(self._windows, self._starts, strict=True):
            low, high = max(start, first), min(self.num_samples, first + self._size)
            if low < high:
                window[low - first : high - first] = chunk[low - start : high - start]

    def waveform(self) -> NDArray[np.float32] | None:
        """All samples, float32 ``[N]``; ``None`` if there are none, or none is a finite number."""
        if self.is_too_long or not any(len(chunk) for chunk in self._chunks):
            return None
        whole = self._clean(np.concatenate(self._chunks))
        self._chunks = [whole]
        return None if self._num_not_finite == len(whole) else whole

    def windows(self) -> NDArray[np.float32]:
        """The windows, float32 ``[S, size]``."""
        return self._windows

    def notes(self) -> list[str]:
        """Notes on replaced samples; call it after ``waveform``, or with windows."""
        notes = []
        if self._num_not_finite:
            count = f"{self._num_not_finite} of {self.num_samples} samples of its sound"
            notes.append(f"{count} are not finite numbers, and were replaced by silence")
        if self._peak > USUAL_PEAK:
            notes.append(f"its sound goes beyond full scale (peak {self._peak:.3g}), and was clipped to [-1, 1]")
        return notes

    def _clean(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        peak = max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0
        if peak <= self._most_peak:  # false for NaN
            return samples
        finite = np.isfinite(samples)
        self._num_not_finite += int((~finite).sum())
        samples = np.where(finite, samples, np.float32(0))
        self._peak = max(self._peak, float(np.abs(samples).max()))
        return samples.clip(-1, 1)
