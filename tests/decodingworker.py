"""A dataset that decodes, apart from the tests so that a spawned worker imports little."""

from __future__ import annotations

import os
import resource
import signal

import torch
from torch.utils.data import Dataset

from affectgpt.errors import MediaError
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.decode.decoder import decode
from affectgpt.media.isolated_reading import Read, Request, read_request
from clipmaker import make_wav


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


def growth_in_mb(item: tuple[str, str]) -> tuple[float, str, list[int]]:
    """Load the file with the named profile: growth of the peak of memory, the error's code, the sound's shape."""
    path, profile = item
    load_clip(make_wav(0.1), MediaProfile.named(profile, sources=["audio"]))  # what every first call takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, shape = "", []
    try:
        clip, _ = load_clip(path, MediaProfile.named(profile))
        shape = [*clip.media["audio"].shape] if "audio" in clip.media else []
    except MediaError as error:
        code = error.code
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, code, shape


class KilledByTheFirst:
    """Loads clips by number, and is killed by number 0."""

    def __init__(self, clips) -> None:
        self.clips = clips

    def __call__(self, number: int):
        if number == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.clips[number]


def read_or_die(request: Request | None) -> Read:
    """As ``read_request``, but a file called kills.mp4 does what it says, and so do bytes of this name."""
    if request is not None and (request.key == "kills" or str(request.clip).endswith("kills.mp4")):
        os.kill(os.getpid(), signal.SIGSEGV)
    return read_request(request)
