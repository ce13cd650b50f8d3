"""The contract of a face detector: pictures in, boxes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Faces:
    """The faces of one picture.

    Attributes:
        boxes: float32 ``[N, 4]``: left, top, right and bottom edge in pixels, inside the picture.
        scores: float32 ``[N]``: confidence of the detector, in [0, 1]; the best first.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector(ABC):
    """Finds the faces in pictures; derive from it and register the class in ``FACE_DETECTORS``.

    Examples:
        >>> from affectgpt.registry import FACE_DETECTORS
        >>> detector = FACE_DETECTORS.build("centerface")
        >>> len(detector.detect(np.zeros((1, 48, 64, 3), np.uint8))[0])
        0
    """

    @abstractmethod
    def detect(self, frames: NDArray[np.uint8]) -> list[Faces]:
        """Find the faces of each frame independently.

        Args:
            frames: uint8 RGB ``[T, H, W, 3]``, upright.

        Returns:
            One entry per frame; that of a frame without faces is empty.
        """
