"""The built-in face detector: CenterFace (Xu et al. 2019, arXiv 1911.03599), with its weights in the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from affectgpt.errors import ConfigError
from affectgpt.media.faces.base import FaceDetector, Faces

STRIDE = 4
"""Pixels of the picture per cell of the network's maps."""
MULTIPLE = 32
"""The network halves a picture five times."""
OVERLAP = 0.3
"""Two boxes with a larger intersection over union belong to one face."""
# width, number and stride of the blocks of each stage of MobileNetV2, after its first
STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
LATERAL_STAGES = (3, 1, 0)
"""Stages whose maps are merged by the upward path: 96, 32 and 24 wide."""
NECK = 24


class CenterFaceNet(nn.Module):
    """MobileNetV2, a feature pyramid up to a quarter of the picture, and one map each for centre, size and offset.

    Batch normalisation is folded into the convolutions. The picture is RGB in [0, 255]; its scaling is folded in too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 32, 3, 2), nn.ReLU(), _conv(32, 32, 3, groups=32), nn.ReLU(), _conv(32, 16))
        stages = []
        width = 16
        for out, count, stride in STAGES:
            blocks = [_Block(width if i == 0 else out, out, stride if i == 0 else 1) for i in range(count)]
            stages.append(nn.Sequential(*blocks))
            width = out
        self.stages = nn.ModuleList(stages)
        self.top = _conv(width, NECK)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(NECK, NECK, 2, 2) for _ in LATERAL_STAGES)
        self.laterals = nn.ModuleList(_conv(STAGES[stage][0], NECK) for stage in LATERAL_STAGES)
        self.head = _conv(NECK, NECK, 3)
        self.centre = _conv(NECK, 1)
        self.size = _conv(NECK, 2)
        self.offset = _conv(NECK, 2)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read pictures.

        Args:
            pictures: float ``[B, 3, H, W]``; H and W are multiples of 32.

        Returns:
            Probability of a face's centre, ``[B, 1, H / 4, W / 4]``; log of height and width in cells, and offset of
            the centre in cells, down and right, both ``[B, 2, H / 4, W / 4]``.
        """
        hidden = self.stem(pictures)
        maps = []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        hidden = self.top(hidden).relu()
        for up, lateral, number in zip(self.ups, self.laterals, LATERAL_STAGES, strict=True):
            hidden = up(hidden).relu() + lateral(maps[number]).relu()
        hidden = self.head(hidden).relu()
        return self.centre(hidden).sigmoid(), self.size(hidden), self.offset(hidden)


class CenterFaceDetector(FaceDetector):
    """Finds faces with CenterFace.

    Args:
        threshold: Least probability of a face. Talking faces in films score above 0.6, other regions below 0.2.
        long_side: Pictures are scaled so that their longer side has this many pixels; a face should then be at least 12
            pixels wide. A larger value finds smaller faces, at quadratic cost.
        device: Where the network runs.

    Raises:
        ConfigError: If a value is out of range.
    """

    def __init__(self, threshold: float = 0.5, long_side: int = 320, device: str = "cpu") -> None:
        if not 0 < threshold < 1:
            raise ConfigError(f"centerface: threshold={threshold!r}, but it must be between 0 and 1")
        if long_side < MULTIPLE:
            raise ConfigError(f"centerface: long_side={long_side!r}, but it must be at least {MULTIPLE} pixels")
        self.threshold = threshold
        self.long_side = long_side
        self.device = torch.device(device)
        weights = load(resources.files("affectgpt.media.faces").joinpath("data/centerface.safetensors").read_bytes())
        self.network = CenterFaceNet().eval().requires_grad_(False)
        self.network.load_state_dict({name: value.float() for name, value in weights.items()})
        self.network.to(self.device)

    def detect(self, frames: NDArray[np.uint8]) -> list[Faces]:
        """Find the faces of each frame; see ``FaceDetector.detect``."""
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
        # one picture at a time: on a CPU a batch is slower, because its maps do not fit into the cache
        return [
            faces for part in pictures.split(1 if self.device.type == "cpu" else 32) for faces in self._detect(part)
        ]

    @torch.inference_mode()
    def _detect(self, pictures: Tensor) -> list[Faces]:
        height, width = pictures.shape[2:]
        scale = self.long_side / max(height, width)
        inner = [max(1, round(side * scale)) for side in (height, width)]
        scaled = functional.interpolate(
            pictures.to(self.device, torch.float32), inner, mode="bilinear", antialias=scale < 1
        )
        down, right = (-side % MULTIPLE for side in inner)
        centre, size, offset = self.network(functional.pad(scaled, (0, right, 0, down)))
        found = []
        for row in range(len(pictures)):
            y, x = torch.nonzero(centre[row, 0] >= self.threshold, as_tuple=True)
            spans = size[row][:, y, x].clamp(max=8).exp() * STRIDE  # exp(8) cells are wider than any picture
            middles = (torch.stack([y, x]) + offset[row][:, y, x] + 0.5) * STRIDE
            ratio = middles.new_tensor([height / inner[0], width / inner[1]])[:, None]
            limit = middles.new_tensor([height, width])[:, None]
            low = ((middles - spans / 2) * ratio).clamp_min(0).minimum(limit)
            high = ((middles + spans / 2) * ratio).clamp_min(0).minimum(limit)
            boxes = torch.stack([low[1], low[0], high[1], high[0]], dim=1)
            found.append(_distinct(boxes.cpu().numpy(), centre[row, 0, y, x].cpu().numpy()))
        return found


class _Block(nn.Module):
    """Expand, filter each channel, project; with a residual connection if the size stays."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 6 * width
        self.layers = nn.Sequential(
            _conv(width, wide), nn.ReLU(), _conv(wide, wide, 3, stride, groups=wide), nn.ReLU(), _conv(wide, out)
        )
        self.shortcut = stride == 1 and width == out

    def forward(self, hidden: Tensor) -> Tensor:
        new: Tensor = self.layers(hidden)
        return hidden + new if self.shortcut else new


def _conv(width: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, out, kernel, stride, padding=kernel // 2, groups=groups)


def _distinct(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Faces:
    """The best box of each face (non-maximum suppression)."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept: list[int] = []
    for index in range(len(boxes)):
        if all(overlap(boxes[index], boxes[other]) < OVERLAP for other in kept):
            kept.append(index)
    return Faces(boxes[kept].astype(np.float32), scores[kept].astype(np.float32))


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes; 0 if both are empty.

    Examples:
        >>> overlap(np.float32([0, 0, 2, 2]), np.float32([1, 0, 3, 2]))
        0.333...
    """
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / union if union > 0 else 0.0
