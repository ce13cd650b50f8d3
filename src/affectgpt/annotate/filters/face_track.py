"""Follows the main face through all frames of a clip, and cuts out what the active speaker network looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.track import follow_main_face

EVERY = 5
"""A detector looks at every fifth frame; boxes between are interpolated."""
_SMOOTHED_FRAMES = 13
_BEYOND = 110.0
"""Grey level of what lies beyond the frame, as in the published code."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class FaceTrack:
    """A face over time.

    Attributes:
        boxes: float32 ``[T, 4]``: left, top, right, bottom in pixels, in every frame.
        coverage: Share of the frames that were looked at in which the face was found.
    """

    boxes: NDArray[np.float32]
    coverage: float


def track_face(frames: NDArray[np.uint8], detector: FaceDetector) -> FaceTrack | None:
    """Follow the main face; ``None`` where there is none.

    Args:
        frames: uint8 RGB ``[T, H, W, 3]``, upright, evenly in time.
        detector: Finds faces.
    """
    looked = np.arange(0, len(frames), EVERY)
    boxes, found = follow_main_face(detector.detect(frames[looked]))
    known = ~np.isnan(boxes[:, 0])
    if not known.any():
        return None
    every = np.arange(len(frames))
    filled = np.stack([np.interp(every, looked[known], boxes[known, side]) for side in range(4)], 1)
    return FaceTrack(filled.astype(np.float32), float(found.mean()))


def cut_faces(frames: NDArray[np.uint8], boxes: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The middle of the face with mouth and chin, grey, as LR-ASD and its kin were trained on.

    The published code cuts a square of 2.8 half sides of the box, shifted down by 0.4 of one, and takes its inner half;
    this is the same region at once.

    Args:
        frames: uint8 RGB ``[T, H, W, 3]``.
        boxes: float32 ``[T, 4]``, see ``FaceTrack``.
        size: Side of the crops in pixels.

    Returns:
        float32 ``[T, size, size]`` in [0, 255].
    """
    half = _smoothed(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2)
    column, row = _smoothed((boxes[:, 0] + boxes[:, 2]) / 2), _smoothed((boxes[:, 1] + boxes[:, 3]) / 2)
    height, width = frames.shape[1:3]
    steps = (torch.arange(size) + 0.5) / size * 2 - 1
    cut = np.empty((len(frames), size, size), np.float32)
    for number, frame in enumerate(frames):
        radius, x, y = 0.7 * half[number], column[number], row[number] + 0.4 * half[number]
        rows = 2 * (y + steps * radius) / height - 1
        columns = 2 * (x + steps * radius) / width - 1
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)[None].float()
        grey = torch.from_numpy(frame.astype(np.float32) @ _GREY)[None, None] - _BEYOND
        seen = functional.grid_sample(grey, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        cut[number] = seen[0, 0].numpy() + _BEYOND
    return cut


def _smoothed(values: NDArray[Any]) -> NDArray[Any]:
    """The median of the neighbouring frames."""
    pad = _SMOOTHED_FRAMES // 2
    padded = np.pad(values, pad, mode="edge")
    found: NDArray[Any] = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED_FRAMES), axis=-1)
    return found
