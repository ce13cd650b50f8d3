"""Sound of any number of channels becomes one waveform."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
import torch

from affectgpt.errors import MediaError
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.decode import views
from affectgpt.media.decode.decoder import decode
from affectgpt.media.sound import resample as sinc
from affectgpt.media.sound.blocks import BlockResampler
from affectgpt.media.verdict import check_media
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


@pytest.mark.parametrize("profile", [DEFAULT, OFFICIAL], ids=["default", "official"])
@pytest.mark.parametrize(("value", "words"), [(np.nan, "not finite"), (np.inf, "not finite"), (1e20, "clipped to")])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_numbers_that_no_sound_has_are_replaced_and_noted(value, words, rate_hz, profile, tmp_path) -> None:
    samples = tone(1.0, rate_hz, 2)
    samples[500, 0] = value
    decoded = decode(write_wav(samples, rate_hz), profile)
    assert decoded.waveform.isfinite().all()
    assert decoded.waveform.abs().max() <= 1
    assert decoded.waveform[4000:].square().mean().sqrt() == pytest.approx(0.3 / 2**0.5, abs=0.01)
    assert any(words in note for note in decoded.notes)
    (tmp_path / "odd.wav").write_bytes(write_wav(samples, rate_hz))
    assert check_media(tmp_path / "odd.wav").code == "damaged"
    clip, _ = load_clip(tmp_path / "odd.wav", profile)
    assert clip.media["audio"].isfinite().all()
    assert clip.extra["media_notes"]


def test_a_sound_without_a_finite_number_is_refused() -> None:
    with pytest.raises(MediaError, match="none of its sound's samples is a finite number"):
        decode(write_wav(np.full((16_000, 1), np.nan, np.float32)), DEFAULT)


def test_a_loud_sound_is_clipped_and_an_ordinary_one_says_nothing() -> None:
    assert decode(write_wav(tone(amplitude=3.0)), DEFAULT).waveform.abs().max() == 1
    assert not decode(write_wav(tone(amplitude=1.0)), DEFAULT).notes


def test_odd_rates_are_resampled_by_the_taps_that_are_not_zero(monkeypatch) -> None:
    waveform = torch.randn(2, 30_000, generator=torch.Generator().manual_seed(0))
    for rate_hz in (44_100, 11_025, 48_000):
        whole = sinc.resample(waveform, rate_hz, 16_000)
        with monkeypatch.context() as patch:
            patch.setattr(sinc, "MAX_KERNEL_VALUES", 0)
            torch.testing.assert_close(sinc.resample(waveform, rate_hz, 16_000), whole, atol=2e-6, rtol=0)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000, 8_000])
def test_blocks_give_what_the_whole_gives(rate_hz) -> None:
    waveform = torch.randn(2, 60_000, generator=torch.Generator().manual_seed(0))
    blocks = BlockResampler(rate_hz, 16_000, block_bytes=100_000)
    found = [chunk for piece in waveform.split(777, 1) for chunk in blocks.feed(np.ascontiguousarray(piece.numpy()))]
    found = np.concatenate([*found, *blocks.flush()])
    assert np.array_equal(found, sinc.resample(waveform, rate_hz, 16_000).mean(0).numpy())


@pytest.mark.parametrize("policy", ["default", "official"])
def test_of_a_long_sound_the_windows_are_those_of_the_whole(policy, monkeypatch) -> None:
    profile = MediaProfile.named(policy, sources=["audio"], num_segments=3, segment_seconds=0.25)
    samples = tone(8.0, 44_100) * np.linspace(0.1, 1, 8 * 44_100, dtype=np.float32)[:, None]
    whole, _ = load_clip(write_wav(samples, 44_100), profile)
    monkeypatch.setattr(views, "MAX_KEPT_SAMPLES", 20_000)
    cut, _ = load_clip(write_wav(samples, 44_100), profile)
    assert decode(write_wav(samples, 44_100), profile, windows_do=True).waveform is None
    # a window begins between two samples: it may be off by half a sample, which is 0.086 of the tone's amplitude
    torch.testing.assert_close(cut.media["audio"], whole.media["audio"], atol=0.3 * 0.09, rtol=0)
