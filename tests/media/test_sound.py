"""Sound of any number of channels becomes one waveform."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode
from clipmaker import tone, write_wav

DEFAULT = MediaProfile(sources=("audio",))
OFFICIAL = MediaProfile.named("official", sources=["audio"])


def make_surround(channels: int) -> bytes:
    """Matroska with AAC, whose decoder gives each channel a plane of its own; a tone of 0.3 in every channel."""
    file = io.BytesIO()
    layout = {2: "stereo", 6: "5.1", 8: "7.1"}[channels]
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("aac", rate=48_000, layout=layout)
        planes = np.ascontiguousarray(tone(1.0, 48_000, channels).T)
        for start in range(0, planes.shape[1], 1024):
            block = np.ascontiguousarray(planes[:, start : start + 1024])
            # interleaved: PyAV cannot fill more than eight planes either
            frame = av.AudioFrame.from_ndarray(block.T.reshape(1, -1).copy(), format="flt", layout=layout)
            frame.sample_rate, frame.pts = 48_000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("profile", [DEFAULT, OFFICIAL], ids=["default", "official"])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 7, 8, 16, 24, 64])
def test_any_number_of_channels_is_averaged(channels: int, rate_hz: int, profile: MediaProfile) -> None:
    waveform = decode(write_wav(tone(1.0, rate_hz, channels), rate_hz), profile).waveform
    assert len(waveform) == pytest.approx(16_000, abs=100)
    assert waveform.square().mean().sqrt() == pytest.approx(0.3 / 2**0.5, abs=0.005)


@pytest.mark.parametrize("channels", [2, 6, 8])
def test_channels_with_planes_of_their_own_are_averaged(channels: int) -> None:
    waveform = decode(make_surround(channels), DEFAULT).waveform
    assert 0.17 < waveform.square().mean().sqrt() < 0.22  # the codec takes a little of the bass channel
