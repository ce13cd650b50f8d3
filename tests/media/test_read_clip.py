"""Frames and the whole waveform of a file from one public call."""

from __future__ import annotations

import pytest
import torch

from affectgpt.errors import MediaError
from affectgpt.media import ClipMedia, read_clip
from affectgpt.media.decode import judge
from clipmaker import make_clip, make_png, make_wav


def shades(frames: torch.Tensor) -> list[int]:
    """Number of each frame in the clip, from its grey."""
    return ((frames.float().mean((1, 2, 3)) - 19) / 4).round().int().tolist()


def test_frames_have_their_times_and_the_waveform_is_whole() -> None:
    media = read_clip(make_clip(3.0, rate_hz=10), num_frames=4)
    assert isinstance(media, ClipMedia)
    assert media.frames.shape == (4, 3, 48, 64)
    assert media.frames.dtype == torch.uint8
    assert list(media.frame_times) == pytest.approx([n / 10 for n in shades(media.frames)])
    assert media.sample_rate_hz == 16_000
    assert len(media.waveform) == pytest.approx(48_000, abs=1100)
    assert media.waveform.abs().max() <= 1
    assert media.missing == {}
    assert media.notes == ()


def test_every_frame_is_taken_once_whatever_its_time() -> None:
    times = [0.0, 0.1, 0.2, 0.25, 0.9, 2.0]
    media = read_clip(make_clip(times=times, audio=False), num_frames=None, size=(16, 24))
    assert media.frames.shape == (6, 3, 16, 24)
    assert shades(media.frames) == [0, 1, 2, 3, 4, 5]
    assert list(media.frame_times) == pytest.approx(times, abs=0.01)
    assert media.missing == {"audio": "the file has no audio track"}
    assert media.waveform is None


def test_sounds_and_pictures_are_read_too(monkeypatch) -> None:
    heard = read_clip(make_wav(1.0, 44_100), sample_rate_hz=8_000)
    assert (heard.frames, heard.frame_times, heard.sample_rate_hz) == (None, (), 8_000)
    assert len(heard.waveform) == pytest.approx(8_000, abs=20)
    assert read_clip(make_png(10, 20)).frames.shape == (1, 3, 10, 20)


def test_frames_that_do_not_fit_into_memory_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(judge, "MAX_FRAMES_BYTES", 100_000)
    assert read_clip(make_clip(2.0), num_frames=4).frames.shape[0] == 4
    with pytest.raises(MediaError, match="20 frames of 64 x 48 pixels need 184,320 bytes") as caught:
        read_clip(make_clip(2.0), num_frames=None)
    assert caught.value.code == "too_large"
