"""What a stranger's file may take: sizes are judged before memory is."""

from __future__ import annotations

import io
import struct
import zlib

import av
import numpy as np
import pytest

from affectgpt.errors import DataError, MediaError
from affectgpt.media import MediaProfile
from affectgpt.media.decode import views
from affectgpt.media.decode.decoder import decode
from affectgpt.media.faces.face_arrays import read_faces
from affectgpt.media.isolation import map_in_order
from affectgpt.media.verdict import check_media
from clipmaker import make_png, make_wav, tone, write_wav
from decodingworker import growth_in_mb


def make_silent_flac(hours: float) -> bytes:
    """Silence takes next to nothing in a FLAC."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=8_000, layout="mono")
        stream.codec_context.format = "s16"
        block = np.zeros((1, 60_000), np.int16)
        for start in range(0, round(hours * 3600 * 8_000), block.shape[1]):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8_000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def claim(png: bytes, width: int, height: int) -> bytes:
    """Let a png claim another size."""
    head = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]


BOMBS = {
    "odd_rate.wav": (lambda: write_wav((tone(2.3, 44_101) * 32767).astype(np.int16), 44_101), "", 200),
    "low_rate.wav": (lambda: write_wav((tone(6.0) * 32767).astype(np.int16), 1), "too_large", 50),
    "high_rate.wav": (lambda: write_wav((tone(6.0) * 32767).astype(np.int16), 2_000_000_001), "too_large", 50),
    "channels.wav": (lambda: write_wav((tone(0.1, channels=255) * 32767).astype(np.int16)), "too_large", 50),
    "large.png": (lambda: claim(make_png(8, 8), 14_000, 14_000), "too_large", 50),
    "huge.png": (lambda: claim(make_png(8, 8), 2**31 - 1, 2**31 - 1), "too_large", 50),
}


@pytest.mark.parametrize("profile", ["default", "official"])
def test_a_small_file_takes_little_memory_or_is_refused_by_a_limit_with_a_name(tmp_path, profile) -> None:
    for name, (make, _, _) in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    with (tmp_path / "sparse.mp4").open("wb") as file:
        file.truncate(30 * 10**9)
    expected = {**{name: (code, most) for name, (_, code, most) in BOMBS.items()}, "sparse.mp4": ("too_large", 50)}
    items = [(str(tmp_path / name), profile) for name in expected]
    for (name, (code, most_mb)), found in zip(
        expected.items(), map_in_order(growth_in_mb, items, 1, lambda item, how: (0.0, how, [])), strict=True
    ):
        assert found[1] == code, name
        assert found[0] < most_mb, name
    assert "affectgpt.media.limits.MAX_FILE_BYTES" in check_media(tmp_path / "sparse.mp4").notes[0]


@pytest.mark.parametrize("profile", ["default", "official"])
def test_hours_of_silence_give_their_windows(tmp_path, profile) -> None:
    """Three hours would be 691 MB as a waveform; before, twice that was taken."""
    (tmp_path / "silence.flac").write_bytes(make_silent_flac(3.0))
    (growth, code, shape) = next(
        map_in_order(growth_in_mb, [(str(tmp_path / "silence.flac"), profile)], 1, lambda item, how: (0.0, how, []))
    )
    assert (code, shape) == ("", [8, 32_000])
    assert growth < 450


def test_a_sound_that_is_wanted_as_a_whole_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(views, "MAX_WHOLE_SAMPLES", 10_000)
    with pytest.raises(MediaError, match="MAX_WHOLE_SAMPLES"):
        decode(make_wav(1.0), MediaProfile(sources=("audio",)))


def test_a_clip_with_too_many_channels_keeps_its_pictures() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as out:
        video = out.add_stream("mjpeg", rate=5)
        video.width, video.height, video.pix_fmt = 32, 32, "yuvj420p"
        sound = out.add_stream("pcm_s16le", rate=16_000, layout="70 channels")
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
            out.mux(video.encode(picture.reformat(format="yuvj420p")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 70 * 1600), np.int16), format="s16", layout="70 channels")
        frame.sample_rate = 16_000
        out.mux(sound.encode(frame))
        out.mux([*video.encode(None), *sound.encode(None)])
    decoded = decode(file.getvalue(), MediaProfile(frame_height=32, frame_width=32))
    assert decoded.frames.shape == (8, 3, 32, 32)
    assert "70 channels" in decoded.missing["audio"]


def test_an_array_header_that_lies_is_refused_before_memory_is_taken() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((1, 2, 2, 3), np.uint8))
    liar = file.getvalue().replace(b"(1, 2, 2, 3)", b"(9999999, 99999, 999, 3)")
    with pytest.raises(DataError, match="claims"):
        read_faces(liar, "k")
