"""Measures a face on 468 landmarks: how far mouth and eyes are open, where brows and corners of the mouth are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from affectgpt.annotate.describe.lite_model import LiteModel

PACKAGE, INSIDE = "mediapipe", "modules/face_landmark/face_landmark.tflite"
LICENCE = "Apache-2.0"
SIZE, MARGIN = 192, 0.25
"""Side of the picture that the network reads, and what is added around the face's box, half on each side."""
MEASURES = ("mouth_opening", "mouth_width", "corner_lift", "brow_raise", "eye_opening")

# Numbers of landmarks in the canonical face mesh of MediaPipe
_FOREHEAD, _CHIN = 10, 152
_UPPER_LIP, _LOWER_LIP, _CORNERS = 13, 14, (61, 291)
_EYES = ((159, 145, 33, 133), (386, 374, 263, 362))
"""Upper lid, lower lid, outer corner, inner corner."""
_BROWS = (105, 334)


class FaceMesh:
    """The face landmark network of MediaPipe, whose weights the user or a package supplies.

    Args:
        path: ``face_landmark.tflite``.

    Raises:
        CheckpointError: If it is another network.
    """

    def __init__(self, path: Path) -> None:
        self._network = LiteModel(path, (1, SIZE, SIZE, 3))
        self.digest = self._network.digest

    def measure(self, frames: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Measures of the main face in every frame.

        Args:
            frames: uint8 RGB ``[T, H, W, 3]``.
            boxes: float32 ``[T, 4]``: left, top, right, bottom of the face in pixels; NaN where there is none.

        Returns:
            float32 ``[T, 5]`` in the order of ``MEASURES``, each a share of the face's height (``eye_opening``: of the
            eye's width); NaN where there is no face.
        """
        found = np.full((len(frames), len(MEASURES)), np.nan, np.float32)
        for number, (frame, box) in enumerate(zip(frames, boxes, strict=True)):
            if not np.isnan(box).any():
                points = max(self._network(_cut(frame, box)), key=np.size).reshape(-1, 3)[:, :2]
                found[number] = measures_of(points)
        return found


def measures_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The measures of one face.

    Args:
        points: float32 ``[468, 2]``: column and row of each landmark, in pixels of any size.
    """
    upright = _upright(points)
    height = max(float(np.linalg.norm(upright[_FOREHEAD] - upright[_CHIN])), 1e-6)
    lips = (upright[_UPPER_LIP, 1] + upright[_LOWER_LIP, 1]) / 2
    corners = upright[list(_CORNERS)]
    eyes, brows = [], []
    for (upper, lower, outer, inner), brow in zip(_EYES, _BROWS, strict=True):
        width = max(float(np.linalg.norm(upright[outer] - upright[inner])), 1e-6)
        eyes.append(abs(upright[lower, 1] - upright[upper, 1]) / width)
        brows.append((upright[upper, 1] - upright[brow, 1]) / height)
    return np.array(
        [
            abs(upright[_LOWER_LIP, 1] - upright[_UPPER_LIP, 1]) / height,
            np.linalg.norm(corners[0] - corners[1]) / height,
            (lips - corners[:, 1].mean()) / height,
            np.mean(brows),
            np.mean(eyes),
        ],
        np.float32,
    )


def _upright(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The points turned so that the eyes are level: rows then tell above from below."""
    left, right = points[list(_EYES[0][2:])].mean(0), points[list(_EYES[1][2:])].mean(0)
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    turned: NDArray[np.float32] = points @ np.array([[across[0], -across[1]], [across[1], across[0]]], np.float32)
    return turned


def _cut(frame: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """The square around a box with its margin, scaled to the network's input, in [0, 1]; black beyond the frame."""
    side = max(2, round(float(max(box[2] - box[0], box[3] - box[1])) * (1 + MARGIN)))
    left, top = round(float(box[0] + box[2] - side) / 2), round(float(box[1] + box[3] - side) / 2)
    square = np.zeros((side, side, 3), np.uint8)
    height, width = frame.shape[:2]
    rows, columns = slice(max(0, top), min(height, top + side)), slice(max(0, left), min(width, left + side))
    seen = frame[rows, columns]
    square[
        rows.start - top : rows.start - top + len(seen), columns.start - left : columns.start - left + seen.shape[1]
    ] = seen
    pixels = torch.from_numpy(square).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(pixels, (SIZE, SIZE), mode="bilinear", antialias=True)
    cut: NDArray[np.float32] = (scaled[0].permute(1, 2, 0) / 255).numpy()
    return cut
