"""A dataset that decodes, apart from the tests so that a spawned worker imports little."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode


class SameClip(Dataset):
    """One clip decoded again for every sample."""

    def __init__(self, content: bytes, profile: MediaProfile, count: int) -> None:
        self.content = content
        self.profile = profile
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        decoded = decode(self.content, self.profile)
        return decoded.frames, decoded.waveform
