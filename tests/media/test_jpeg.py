"""A JPEG that is cut or flipped, and a GIF that is cut, are not taken for whole ones."""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from affectgpt.errors import DataError
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.compact import decode_jpegs, encode_jpegs
from affectgpt.media.decode.decoder import decode
from affectgpt.media.pictures.picture_header import is_whole_gif, is_whole_jpeg, picture_size
from affectgpt.media.verdict import check_media
from clipmaker import make_png


def make_jpeg(seed: int = 0) -> bytes:
    """A jpeg of noise, so that every part of it takes bytes."""
    noise = np.random.default_rng(seed).integers(0, 255, (1, 3, 64, 96), np.uint8)
    return encode_jpegs(torch.from_numpy(noise), 4)[0]


def make_mjpeg_avi(pictures: list[bytes]) -> bytes:
    """An avi whose frames are these files."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as out:
        stream = out.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 5), stream, True
            out.mux(packet)
    return file.getvalue()


def flipped(content: bytes) -> bytes:
    """Bytes in the middle turned over until FFmpeg can see it."""
    broken = bytearray(content)
    for place in range(len(content) // 3, len(content) // 2, 5):
        broken[place] ^= 0xFF
    return bytes(broken)


@pytest.mark.parametrize("policy", ["default", "official"])
@pytest.mark.parametrize("cut", [2, 20, 500, 3000])
def test_a_cut_picture_is_damaged(cut, policy, tmp_path) -> None:
    (tmp_path / "cut.jpg").write_bytes(make_jpeg()[:-cut])
    checked = check_media(tmp_path / "cut.jpg")
    assert (checked.verdict, checked.code) in {("notes", "damaged"), ("refused", "undecodable")}
    with suppress(DataError):
        clip, _ = load_clip(tmp_path / "cut.jpg", MediaProfile.named(policy), subtitle="x")
        assert "damaged" in clip.extra["media_notes"][0]


@pytest.mark.parametrize("policy", ["default", "official"])
def test_a_flipped_picture_is_damaged_and_a_whole_one_is_not(policy, tmp_path) -> None:
    whole = make_jpeg()
    profile = MediaProfile.named(policy, sources=["frame"])
    assert not decode(whole, profile).notes
    assert not decode(whole + bytes(100) + b"ftypmp42", profile).notes  # phones append films
    with suppress(DataError):
        assert decode(flipped(whole), profile).notes
    (tmp_path / "whole.jpg").write_bytes(whole)
    assert check_media(tmp_path / "whole.jpg").verdict == "ok"


def test_damaged_frames_of_a_film_of_jpegs_are_counted() -> None:
    profile = MediaProfile(sources=("frame",), num_frames=4, frame_height=0, frame_width=0)
    whole = [make_jpeg(seed) for seed in range(4)]
    assert not decode(make_mjpeg_avi(whole), profile).notes
    broken = decode(make_mjpeg_avi([whole[0], whole[1][:-800], flipped(whole[2]), whole[3]]), profile)
    assert broken.frames.shape == (4, 3, 64, 96)
    assert "2 of 4 video frames are damaged" in broken.notes


def test_a_stored_frame_that_is_cut_is_refused() -> None:
    whole = make_jpeg()
    assert decode_jpegs([whole], "k").shape == (1, 3, 64, 96)
    for broken in (whole[:-2], whole[:-500], flipped(whole)):
        with pytest.raises(DataError, match="stored frame 1 cannot be decoded"):
            decode_jpegs([whole, broken], "k")


def test_sizes_are_read_from_headers() -> None:
    assert picture_size(make_jpeg()) == (96, 64)
    assert picture_size(make_png(10, 20)) == (20, 10)
    assert picture_size(b"\xff\xd8\xff") is None
    assert picture_size(b"GIF89a" + (300).to_bytes(2, "little") + (200).to_bytes(2, "little")) == (300, 200)
    assert not is_whole_jpeg(b"")
    thumbnail = make_jpeg(1)
    exif = b"\xff\xe1" + (len(thumbnail[:2000]) + 2).to_bytes(2, "big") + thumbnail[:2000]
    inside = b"\xff\xd8" + exif.replace(b"\xff\xd9", b"\xff\xd8") + make_jpeg()[2:]
    assert is_whole_jpeg(inside)
    assert not is_whole_jpeg(inside[:-2])


@pytest.mark.parametrize("frames", [1, 3])
def test_a_gif_that_was_cut_is_damaged(frames: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)) for _ in range(frames)]
    pictures[0].save(tmp_path / "whole.gif", save_all=True, append_images=pictures[1:], duration=200, loop=0)
    content = (tmp_path / "whole.gif").read_bytes()
    assert is_whole_gif(content)
    assert check_media(tmp_path / "whole.gif").code != "damaged"
    for share in (0.5, 0.9, 0.97):
        (tmp_path / "cut.gif").write_bytes(content[: int(share * len(content))])
        found = check_media(tmp_path / "cut.gif")
        assert "damaged" in " ".join(found.notes), share
        assert found.code == "damaged"
    if frames == 1:
        assert not any(is_whole_gif(content[:length]) for length in range(0, len(content) - 2, 7))
