"""Pictures and sound lie where their time stamps put them, wherever reading begins, and whatever the stamps are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from affectgpt.watch import Film

RATE_HZ, PICTURES_HZ = 44_100, 10


def write_film(
    path: Path, seconds: float, *, offset: float = 0.0, gap: tuple[float, float] = (0.0, 0.0), drift: float = 0.0
) -> Path:
    """Noise that is the same every time, in stereo, and pictures whose grey level is their number.

    Args:
        path: Where; its suffix chooses the container.
        seconds: Length.
        offset: Time stamp of the first picture and the first sound.
        gap: From when on for how long no sound is stored.
        drift: How much later each packet of sound is stamped than it follows the one before.
    """
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, round(seconds * RATE_HZ))).astype(np.float32)
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=PICTURES_HZ)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        # without loss: a decoder of AAC makes up noise as it goes, which depends on where it began
        audio = out.add_stream("aac" if path.suffix == ".ts" else "pcm_f32le", rate=RATE_HZ, layout="stereo")
        for number in range(round(seconds * PICTURES_HZ)):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 2 * number % 250, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number + round(offset * PICTURES_HZ), Fraction(1, PICTURES_HZ)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        first, length = gap
        for number, start in enumerate(range(0, noise.shape[1], 1024)):
            now = start / RATE_HZ
            if first <= now < first + length:
                continue
            block = np.ascontiguousarray(noise[:, start : start + 1024].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout="stereo")
            frame.sample_rate = RATE_HZ
            frame.pts, frame.time_base = start + round((offset + number * drift) * RATE_HZ), Fraction(1, RATE_HZ)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    return path


def read(path: Path, start: float = 0.0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Sound, times and grey levels from a time on."""
    chunks = list(Film(path, frame_rate_hz=4, start_seconds=start).chunks(5.0))
    frames = np.concatenate([one.frames[:, 0, 0, 0] for one in chunks if len(one.frames)])
    sound = torch.from_numpy(np.concatenate([one.waveform for one in chunks]))
    return sound, np.concatenate([one.times for one in chunks]), frames


@pytest.mark.parametrize("start", [1.0, 3.37, 7.0 + 5 / 16_000, 11.25])
def test_a_later_beginning_reads_the_same_samples(tmp_path: Path, start: float) -> None:
    film = write_film(tmp_path / "film.mov", 14.0)
    sound, times, levels = read(film)
    assert len(sound) == pytest.approx(14 * 16_000, abs=2048)
    later, later_times, later_levels = read(film, start)
    first = round(start * 16_000)
    assert torch.equal(later, sound[first:])
    assert np.array_equal(later_times, times[times >= start])
    assert np.array_equal(later_levels, levels[times >= start])


def test_a_gap_is_silence_and_what_comes_after_it_stays_in_time(tmp_path: Path) -> None:
    whole, _, _ = read(write_film(tmp_path / "whole.mkv", 12.0))
    with_gap, _, _ = read(write_film(tmp_path / "gap.mkv", 12.0, gap=(4.0, 3.0)))
    assert float(with_gap[round(4.2 * 16_000) : round(6.8 * 16_000)].abs().max()) < 1e-4
    late = slice(round(8.0 * 16_000), round(11.0 * 16_000))
    assert correlation(whole[late], with_gap[late]) > 0.9


def test_small_steps_of_the_time_stamps_do_not_add_up(tmp_path: Path) -> None:
    """Each packet is stamped 2 ms too late, so that after 40 s the sound belongs more than 3 s later."""
    sound, _, _ = read(write_film(tmp_path / "drift.mkv", 40.0, drift=0.002))
    steps = 40 * RATE_HZ / 1024
    assert len(sound) / 16_000 == pytest.approx(40 + 0.002 * steps, abs=0.2)


def test_times_count_from_the_first_packet(tmp_path: Path) -> None:
    """A recording of a broadcast begins anywhere; its first hour is not an hour of nothing."""
    plain = Film(write_film(tmp_path / "plain.ts", 6.0))
    moved = Film(write_film(tmp_path / "moved.ts", 6.0, offset=3600.0))
    assert moved.offset_seconds == pytest.approx(3600, abs=2)
    (one,), (other,) = list(plain.chunks(10.0)), list(moved.chunks(10.0))
    assert other.end_seconds == pytest.approx(6, abs=0.5)
    assert len(one.frames) == len(other.frames)
    assert np.array_equal(one.frames, other.frames)
    assert correlation(*(torch.from_numpy(film.waveform[: 5 * 16_000]) for film in (one, other))) > 0.9


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Of two waveforms below 2 kHz, at the best shift of up to a millisecond: stamps are rounded to that."""
    one, other = (torch.nn.functional.avg_pool1d(wave[None], 8, 1)[0] for wave in (one, other))
    shifts = (float(torch.corrcoef(torch.stack([one, torch.roll(other, shift)]))[0, 1]) for shift in range(-16, 17))
    return max(shifts)
