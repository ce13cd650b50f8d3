"""Cuts the main face out of the frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from affectgpt.errors import DataError
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.track import follow_main_face

MARGIN = 0.3
CROP_SIZE = 224


@dataclass(frozen=True)
class FaceCrops:
    """The main face of a clip, frame by frame.

    Attributes:
        crops: uint8 RGB ``[T, H, W, 3]``; the whole frame if the face is not in it.
        found: Bool ``[T]``; ``True`` where the detector found the face.
        boxes: float32 ``[T, 4]``: left, top, right, bottom of the crop, in pixels of the frame; NaN if the face is not
            in it. Boxes between two detections are interpolated and not ``found``.
    """

    crops: NDArray[np.uint8]
    found: NDArray[np.bool_]
    boxes: NDArray[np.float32]

    @property
    def coverage(self) -> float:
        """Share of the frames in which the face was found."""
        return float(self.found.mean()) if len(self.found) else 0.0

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Bool ``[T]``; ``True`` where the crop shows the face, found or interpolated."""
        return ~np.isnan(self.boxes[:, 0])

    @property
    def kept(self) -> NDArray[np.uint8]:
        """The crops that show the face, uint8 ``[T', H, W, 3]``: the input of a model, and what a shard stores."""
        return self.crops[self.keep]


def crop_faces(
    frames: NDArray[np.uint8],
    detector: FaceDetector,
    *,
    margin: float = MARGIN,
    size: int | tuple[int, int] = CROP_SIZE,
) -> FaceCrops:
    """Cut the main face out of every frame.

    The crop is a square around the face's box, moved inwards at the edges of the frame and never larger than it. If
    there are several faces, it follows the one that is largest for longest (see ``follow_main_face``).

    Args:
        frames: uint8 RGB ``[T, H, W, 3]``, upright, in order of time and with the clip's aspect ratio.
        detector: Finds the faces.
        margin: Share of the longer side of the box to add to it, half on each side.
        size: Height and width of the crops, in pixels.

    Raises:
        DataError: If the frames have a wrong shape or type.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise DataError(f"frames are uint8 RGB [time, height, width, 3], but got {frames.dtype} {frames.shape}")
    boxes, found = follow_main_face(detector.detect(frames))
    squares = np.stack([_square(box, frames.shape[1:3], margin) for box in boxes]) if len(boxes) else boxes
    return FaceCrops(_cut(frames, squares, size), found, squares)


def cut_squares(
    frames: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    *,
    margin: float = MARGIN,
    size: int | tuple[int, int] = CROP_SIZE,
) -> NDArray[np.uint8]:
    """Cut squares around known boxes, as ``crop_faces`` does.

    Args:
        frames: uint8 RGB ``[T, H, W, 3]``.
        boxes: float32 ``[T, 4]``: left, top, right, bottom; NaN for the whole frame.
        margin: See ``crop_faces``.
        size: Height and width of the crops, in pixels.

    Returns:
        uint8 RGB ``[T, H, W, 3]``.
    """
    return _cut(frames, np.stack([_square(box, frames.shape[1:3], margin) for box in boxes]), size)


def _cut(frames: NDArray[np.uint8], squares: NDArray[np.float32], size: int | tuple[int, int]) -> NDArray[np.uint8]:
    height, width = (size, size) if isinstance(size, int) else size
    crops = np.empty((len(frames), height, width, 3), np.uint8)
    for number, (frame, square) in enumerate(zip(frames, squares, strict=True)):
        if not np.isnan(square).any():
            left, top, right, bottom = square.astype(int)
            frame = frame[top:bottom, left:right]
        crops[number] = _resize(frame, height, width)
    return crops


def _square(box: NDArray[np.float32], shape: tuple[int, ...], margin: float) -> NDArray[np.float32]:
    """The square around a box, in whole pixels and inside the frame; NaN stays NaN."""
    if np.isnan(box).any():
        return box
    height, width = shape
    side = max(1.0, min(round(float(max(box[2] - box[0], box[3] - box[1])) * (1 + margin)), height, width))
    left = np.clip(round(float(box[0] + box[2] - side) / 2), 0, width - side)
    top = np.clip(round(float(box[1] + box[3] - side) / 2), 0, height - side)
    return np.array([left, top, left + side, top + side], np.float32)


def _resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    resized: NDArray[np.uint8] = scaled[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return resized
