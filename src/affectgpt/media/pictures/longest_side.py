"""Scales frames down to a longest side, as models behind a server take pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def scale_down(frames: Tensor, longest_side: int) -> Tensor:
    """Scale frames down, and keep their shape; smaller ones stay as they are.

    Args:
        frames: uint8 ``[T, 3, H, W]``.
        longest_side: In pixels.

    Returns:
        uint8 ``[T, 3, H', W']``.

    Examples:
        >>> scale_down(torch.zeros(1, 3, 40, 80, dtype=torch.uint8), 20).shape
        torch.Size([1, 3, 10, 20])
    """
    scale = longest_side / max(frames.shape[-2:])
    if scale >= 1:
        return frames
    size = [max(1, round(side * scale)) for side in frames.shape[-2:]]
    scaled = functional.interpolate(frames.float(), size, mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)
