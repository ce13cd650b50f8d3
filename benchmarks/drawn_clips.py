"""Random clips with words and answers of the lengths of real ones: what training steps are timed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from random_networks import Sizes  # a neighbour of this script
from torch import Tensor

from affectgpt.types import Batch, Features


@dataclass(frozen=True)
class Clips:
    """What every row is fed with.

    Attributes:
        frames: uint8 ``[N, T, 3, H, W]``.
        sound: float32 ``[N, S, N']``.
        subtitles: Words of each clip.
        answers: What is learnt.
    """

    frames: Tensor
    sound: Tensor
    subtitles: tuple[str, ...]
    answers: tuple[str, ...]

    def batch(self, rows: Sequence[int], question: str, features: Mapping[str, Tensor] | None = None) -> Batch:
        """Some clips as a batch, with media or with features."""
        rows, count = list(rows), len(rows)
        keep = {
            "face": torch.ones(count, self.frames.shape[1], dtype=torch.bool),
            "audio": torch.ones(count, self.sound.shape[1], dtype=torch.bool),
        }
        given = {name: Features(value[rows], keep[name]) for name, value in (features or {}).items()}
        return Batch(
            keys=tuple(map(str, rows)),
            media={} if features else {"face": self.frames[rows], "audio": self.sound[rows]},
            keep={} if features else keep,
            subtitles=tuple(self.subtitles[i] for i in rows),
            questions=(question,) * count,
            answers=tuple(self.answers[i] for i in rows),
            features=given,
        )


def make_clips(sizes: Sizes, count: int) -> Clips:
    """Random pictures and sound; words of a tokenizer of bytes, a token each."""
    generator = torch.Generator().manual_seed(0)
    draw = np.random.default_rng(0)
    lengths = [int(draw.integers(10, 40)) if i % 3 == 0 else int(draw.integers(20, 301)) for i in range(count)]
    spoken = [int(draw.integers(0, 80)) for _ in range(count)]
    shape = (count, sizes.frames, 3, sizes.frame_size, sizes.frame_size)
    return Clips(
        frames=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        sound=torch.randn(count, sizes.windows, sizes.window_samples, generator=generator),
        subtitles=tuple("w" * number for number in spoken),
        answers=tuple("a" * number for number in lengths),
    )
