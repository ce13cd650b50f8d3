"""Resamples a sound of any length as the published code does, keeping no more than one block in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from affectgpt.media.limits import MAX_RAW_SOUND_BYTES
from affectgpt.media.sound.resample import lowest_terms, reach_of, resample


class BlockResampler:
    """Takes the channels of a sound piece by piece, and returns the mean of the resampled channels.

    A sound that is not longer than a block is resampled at once. A longer one is resampled in blocks of a whole number
    of filter periods (``old`` samples, see ``resample``), together with the neighbouring samples that the filter
    reaches; the output of these neighbours is cut off.

    Args:
        rate_hz: Samples per second.
        wanted_hz: Samples per second of the result.
        block_bytes: Size of a block, in bytes.
    """

    def __init__(self, rate_hz: int, wanted_hz: int, block_bytes: int = MAX_RAW_SOUND_BYTES) -> None:
        self._rates = rate_hz, wanted_hz
        self._old, self._new = lowest_terms(rate_hz, wanted_hz)
        self._reach = reach_of(self._old, self._new) if self._old != self._new else 0
        self._block_bytes = block_bytes
        self._pieces: list[NDArray[np.float32]] = []
        self._num_bytes = 0
        self._num_before = 0  # samples at the front that are already resampled, kept as the filter's past

    def feed(self, planes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Take float32 ``[C, N]``; return the finished blocks, float32 ``[N']`` each."""
        self._pieces.append(planes)
        self._num_bytes += planes.nbytes
        if self._num_bytes < self._block_bytes:
            return []
        held = self._held()
        # the last period is needed as the future of the one before, and may not be complete yet
        num_done = (held.shape[1] - self._reach) // self._old * self._old - self._old
        if num_done <= self._num_before:
            return []
        finished = self._mean(held)[: num_done // self._old * self._new]
        finished = finished[self._num_before // self._old * self._new :]
        past = min(num_done, -(-self._reach // self._old) * self._old)
        self._pieces = [held[:, num_done - past :].copy()]
        self._num_bytes, self._num_before = self._pieces[0].nbytes, past
        return [finished]

    def flush(self) -> list[NDArray[np.float32]]:
        """Resample and return the rest."""
        if not self._pieces:
            return []
        rest = self._mean(self._held())[self._num_before // self._old * self._new :]
        self._pieces, self._num_bytes, self._num_before = [], 0, 0
        return [rest]

    def _held(self) -> NDArray[np.float32]:
        self._pieces = [np.concatenate(self._pieces, 1)]
        return self._pieces[0]

    def _mean(self, planes: NDArray[np.float32]) -> NDArray[Any]:
        whole = resample(torch.from_numpy(planes), *self._rates)
        mean: NDArray[Any] = (whole[0] if len(whole) == 1 else whole.mean(0)).numpy()
        return mean
