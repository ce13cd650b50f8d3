"""Makes small real media files for tests: H.264 + AAC by PyAV, each frame a known shade of grey."""

from __future__ import annotations

import io
import shutil
import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_clip(
    seconds: float = 1.0,
    *,
    rate_hz: int = 10,
    size: tuple[int, int] = (64, 48),
    video: bool = True,
    audio: bool = True,
    times: list[float] | None = None,
    tone_hz: float = 440.0,
    channels: str = "mono",
    faststart: bool = False,
    shade: int | None = None,
) -> bytes:
    """An mp4 whose frame i is grey with value 20 + 4 (i mod 50) (or ``shade``), shown at ``times[i]`` seconds."""
    path = Path(tempfile.mkdtemp()) / "clip.mp4"  # moving the header to the front needs a named file
    times = times if times is not None else [i / rate_hz for i in range(round(seconds * rate_hz))]
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as out:
        if video:
            picture = out.add_stream("libx264", rate=rate_hz, options={"crf": "1", "g": "5"})
            picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
            picture.codec_context.time_base = Fraction(1, 1000)
        if audio:
            sound = out.add_stream("aac", rate=16_000, layout=channels)
        if video:
            for number, time in enumerate(times):
                value = 20 + 4 * (number % 50) if shade is None else shade
                frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), value, np.uint8), format="rgb24")
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                out.mux(picture.encode(frame))
            out.mux(picture.encode(None))
        if audio:
            wave = 0.5 * np.sin(2 * np.pi * tone_hz * np.arange(round(seconds * 16_000)) / 16_000)
            planes = np.stack([wave.astype(np.float32)] * (2 if channels == "stereo" else 1))
            for start in range(0, planes.shape[1], 1024):
                block = np.ascontiguousarray(planes[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=channels)
                frame.sample_rate, frame.pts = 16_000, start
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    content = path.read_bytes()
    shutil.rmtree(path.parent)
    return content


def make_wav(seconds: float, rate_hz: int = 16_000) -> bytes:
    """A 16-bit stereo wav of a 440 Hz tone with amplitude 0.5, the same in both channels."""
    file = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    samples = np.repeat((wave * 32767).astype(np.int16), 2)[None]
    with av.open(file, "w", format="wav") as out:
        stream = out.add_stream("pcm_s16le", rate=rate_hz, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = rate_hz
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def make_png(height: int, width: int) -> bytes:
    """A png, white on its left half and black on its right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 255
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "rgb24", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def turn_clockwise(clip: bytes) -> bytes:
    """Mark an mp4 to be shown turned by 90 degrees clockwise, by the matrix of its track header (ISO 14496-12)."""
    one, last = 0x10000, 0x40000000
    upright = b"".join(n.to_bytes(4, "big", signed=True) for n in (one, 0, 0, 0, one, 0, 0, 0, last))
    turned = b"".join(n.to_bytes(4, "big", signed=True) for n in (0, one, 0, -one, 0, 0, 0, 0, last))
    track = clip.index(b"tkhd")
    place = clip.index(upright, track)
    return clip[:place] + turned + clip[place + len(upright) :]


def write_wav(samples: np.ndarray, rate_hz: int = 16_000) -> bytes:
    """A wav file of samples ``[N, C]``, as they are: int16, or float32 with any value."""
    kind = 3 if samples.dtype == np.float32 else 1  # IEEE float, or PCM
    content = np.ascontiguousarray(samples).astype(samples.dtype.newbyteorder("<")).tobytes()
    width, channels = samples.dtype.itemsize, samples.shape[1]
    form = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * width * channels, width * channels, 8 * width)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content))
    return b"RIFF" + struct.pack("<I", len(head) + len(content)) + head + content


def tone(seconds: float = 1.0, rate_hz: int = 16_000, channels: int = 1, amplitude: float = 0.3) -> np.ndarray:
    """A tone of 440 Hz, the same in every channel: float32 ``[N, C]``."""
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)
