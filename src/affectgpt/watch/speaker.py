"""Who of several people speaks, by LR-ASD, whose weights the user supplies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from affectgpt.annotate.filters.face_track import cut_faces
from affectgpt.annotate.filters.lr_asd import CROP, FRAME_RATE_HZ, load_active_speaker, score_frames

BOUNDS = (-1.0, 0.0)
"""A mean score below the first is "does not speak", from the second on "speaks"; between them nothing is said."""


class SpeakerJudge:
    """Judges faces while somebody speaks.

    Args:
        weights: File of LR-ASD weights.

    Raises:
        CheckpointError: If the file holds other weights.
    """

    frame_rate_hz = float(FRAME_RATE_HZ)

    def __init__(self, weights: str | Path) -> None:
        self._network = load_active_speaker(weights)

    def judge(
        self, frames: NDArray[np.uint8], boxes: Mapping[int, NDArray[np.float32]], waveform: Tensor
    ) -> dict[int, str]:
        """Whether each person speaks: ``yes``, ``no`` or ``unknown``; at most one does.

        Args:
            frames: uint8 RGB ``[T, H, W, 3]``, 25 a second, while somebody speaks.
            boxes: Each person's face in every picture, float32 ``[T, 4]``.
            waveform: float32 ``[N]``, 16 kHz, over the same time.
        """
        scores = {
            person: float(np.mean(score_frames(self._network, cut_faces(frames, found, CROP), waveform)))
            for person, found in boxes.items()
        }
        best = max(scores, key=lambda person: scores[person], default=None)
        return {person: _verdict(score, person == best) for person, score in scores.items()}


def _verdict(score: float, is_best: bool) -> str:
    low, high = BOUNDS
    if score >= high:
        return "yes" if is_best else "no"
    return "no" if score < low else "unknown"
