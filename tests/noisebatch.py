"""Batches of noise with words and true labels, and the settings of a tiny model that learns from them."""

from __future__ import annotations

from typing import Any

import torch

from affectgpt.types import Batch

CONFIG: dict[str, Any] = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 4, "dropout": 0.2}, "trainable": False}},
    "style": "brief",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 6,
    "optim": {"lr": 0.01, "warmup_steps": 0},
}


def noise_batch(seed: int = 0, size: int = 2) -> Batch:
    """Clips of two frames and two segments of sound."""
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        keys=tuple(f"clip{seed}-{i}" for i in range(size)),
        media={
            "frame": torch.randint(0, 255, (size, 2, 3, 32, 32), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(size, 2, 4000, generator=generator),
        },
        keep={name: torch.ones(size, 2, dtype=torch.bool) for name in ("frame", "audio")},
        subtitles=tuple("a few words"[: 4 + 3 * i] for i in range(size)),
        questions=("How?",) * size,
        labels=(("joyful",),) * size,
    )
