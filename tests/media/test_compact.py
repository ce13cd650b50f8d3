"""Frames as JPEG and sound as FLAC come back as they should."""

from __future__ import annotations

import pytest
import torch

from affectgpt.errors import DataError
from affectgpt.media.compact import decode_flac, decode_jpegs, encode_flac, encode_jpegs


def smooth_frames(num_frames: int, height: int, width: int) -> torch.Tensor:
    """Colour gradients that move from frame to frame."""
    time, row, column = torch.meshgrid(
        torch.arange(float(num_frames)), torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij"
    )
    planes = [row * 255, column * 255, (row + column + time / num_frames) / 3 * 255]
    return torch.stack(planes, 1).to(torch.uint8)


@pytest.mark.parametrize("size", [(224, 224), (17, 33), (1, 1), (8, 500)])
def test_frames_come_back_in_shape_and_colour(size: tuple[int, int]) -> None:
    frames = smooth_frames(3, *size)
    decoded = decode_jpegs(encode_jpegs(frames), "x")
    assert (decoded.shape, decoded.dtype) == (frames.shape, torch.uint8)
    if min(size) > 8:  # in a small one the colours change steeply, and their resolution is halved
        assert (decoded.float() - frames.float()).abs().mean() < (1 if min(size) > 100 else 4)


@pytest.mark.parametrize("colour", [(94, 94, 94), (200, 100, 50), (0, 0, 0), (255, 255, 255), (18, 240, 130)])
def test_a_colour_is_not_darkened_or_tinted(colour: tuple[int, int, int]) -> None:
    frames = torch.tensor(colour, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 32, 48)
    decoded = decode_jpegs(encode_jpegs(frames), "x").float().mean((0, 2, 3))
    assert decoded.tolist() == pytest.approx(colour, abs=1.1)


def test_a_lower_quality_is_smaller() -> None:
    noise = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sizes = [len(encode_jpegs(noise, qscale)[0]) for qscale in (1, 2, 8, 31)]
    assert sizes == sorted(sizes, reverse=True)
    assert encode_jpegs(noise) == encode_jpegs(noise)


@pytest.mark.parametrize("length", [1, 4096, 10_001])
@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_a_waveform_is_off_by_half_a_step_of_16_bits_at_most(length: int, rate_hz: int) -> None:
    waveform = torch.rand(length, generator=torch.Generator().manual_seed(0)) * 1.99 - 1
    decoded = decode_flac(encode_flac(waveform, rate_hz), "x")
    assert (decoded.shape, decoded.dtype) == (waveform.shape, torch.float32)
    assert (decoded - waveform).abs().max() <= 2**-16
    assert torch.equal(decode_flac(encode_flac(decoded, rate_hz), "x"), decoded)  # what is 16 bits already is exact


def test_too_loud_samples_are_clipped() -> None:
    decoded = decode_flac(encode_flac(torch.tensor([1.5, -1.5, 0.0]), 16_000), "x")
    assert decoded.tolist() == [1 - 2**-15, -1.0, 0.0]


def test_broken_content_is_named() -> None:
    with pytest.raises(DataError, match="clip 'k': stored frame 1 cannot be decoded"):
        decode_jpegs([*encode_jpegs(smooth_frames(1, 16, 16)), b"no picture"], "clip 'k'")
    with pytest.raises(DataError, match="stored frame 1 is"):
        decode_jpegs([*encode_jpegs(smooth_frames(1, 16, 16)), *encode_jpegs(smooth_frames(1, 16, 24))], "clip 'k'")
    with pytest.raises(DataError, match="clip 'k': its stored sound"):
        decode_flac(b"fLaC and no more", "clip 'k'")
