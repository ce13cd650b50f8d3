"""What is heard in a voice, as numbers and as plain sentences: pitch, loudness, pauses, and how much is speech."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.media.speech.activity import is_silent, speech_segments
from affectgpt.media.speech.base import SAMPLE_RATE_HZ

FRAME_SECONDS = 0.02
PAUSE_SECONDS = 0.25
"""A shorter gap belongs to speech: it is a stop consonant or a breath."""
_QUIET_DB, _FLOOR_DB = 25.0, -55.0
"""A frame this far below the loud ones, or below this level of full scale, is quiet."""
_LOWEST_HZ, _HIGHEST_HZ = 65, 500
_LOUD_QUANTILE = 0.95
_VOICED, _NEARLY = 0.5, 0.9


def hear_voice(waveform: Tensor, *, find_speech: bool = True) -> dict[str, Any]:
    """Measure a voice.

    Args:
        waveform: float32 ``[N]``, mono, 16 kHz, in [-1, 1].
        find_speech: Whether silero-vad tells how much is speech.

    Returns:
        Plain JSON: ``seconds``; ``level_db`` of the loud parts below full scale, ``range_db`` between loud and quiet;
        ``active_share`` of frames that are not quiet; ``pauses`` and ``pause_seconds`` between active parts; ``beats``
        (peaks of loudness a second, about one a syllable); ``pitch_hz`` (median over voiced frames), ``pitch_range``
        (10th to 90th percentile in semitones), ``pitch_trend`` (semitones from the first third to the last);
        ``voiced_share``; ``speech_share`` by silero-vad.

    Raises:
        ConfigError: If torchaudio, or silero-vad where it is asked for, is not installed.
    """
    seconds = len(waveform) / SAMPLE_RATE_HZ
    numbers: dict[str, Any] = {"seconds": round(seconds, 3), "silent": is_silent(waveform)}
    if numbers["silent"] or seconds < 4 * FRAME_SECONDS:
        return numbers
    level = _levels(waveform)
    loud = float(np.quantile(level, _LOUD_QUANTILE))
    active = level > max(loud - _QUIET_DB, _FLOOR_DB)
    pauses = _pauses(active)
    numbers |= {
        "level_db": round(loud, 1),
        "range_db": round(loud - float(np.quantile(level, 0.1)), 1),
        "active_share": round(float(active.mean()), 3),
        "pauses": len(pauses),
        "pause_seconds": round(sum(pauses), 2),
        "beats": _beats(level, active),
        **_pitch(waveform, active),
    }
    if find_speech:
        spoken = sum(one.end_seconds - one.start_seconds for one in speech_segments(waveform))
        numbers["speech_share"] = round(min(1.0, spoken / seconds), 3)
    return numbers


def say_voice(numbers: Mapping[str, Any]) -> str:
    """The numbers in plain sentences.

    Examples:
        >>> say_voice({"seconds": 2.0, "silent": False, "level_db": -14.0, "range_db": 20.0, "active_share": 0.9,
        ...            "pauses": 0, "pause_seconds": 0.0, "beats": 4.6, "pitch_hz": 240.0, "pitch_range": 9.0,
        ...            "pitch_trend": -3.0, "voiced_share": 0.6, "speech_share": 0.8})
        'The voice is loud (-14 dB) and high (240 Hz), varies a lot (9 semitones) and falls towards the end. It goes on
        without pauses, at a usual pace.'
    """
    if numbers["silent"]:
        return "Nothing is heard."
    if "level_db" not in numbers:
        return "The sound is too short to tell anything."
    if numbers.get("voiced_share", 0.0) < 0.05:
        said = "Sounds are heard, but hardly a voice"
        return f"{said} ({numbers['level_db']:.0f} dB)."
    words = [
        f"{_of(numbers['level_db'], -28, 'quiet', -17, 'loud', 'of usual loudness')} ({numbers['level_db']:.0f} dB)"
    ]
    pitch = numbers.get("pitch_hz")
    if pitch is not None:
        words[0] += f" and {_of(pitch, 150, 'low', 230, 'high', 'of medium pitch')} ({pitch:.0f} Hz)"
        spread = numbers["pitch_range"]
        words.append(f"{_of(spread, 3.5, 'is even', 8, 'varies a lot', 'varies')} ({spread:.0f} semitones)")
        trend = numbers.get("pitch_trend")
        if trend is not None and abs(trend) >= 2:
            words.append(f"{'rises' if trend > 0 else 'falls'} towards the end")
    sentences = [
        f"The voice is {', '.join(words[:-1])} and {words[-1]}." if len(words) > 1 else f"The voice is {words[0]}."
    ]
    return " ".join([*sentences, *_flow(numbers)])


def _flow(numbers: Mapping[str, Any]) -> list[str]:
    pauses, seconds = numbers["pauses"], numbers["pause_seconds"]
    pace = _of(numbers["beats"], 2.5, "slowly", 5.5, "fast", "at a usual pace")
    gaps = "without pauses" if not pauses else f"with {pauses} pause{'s' if pauses > 1 else ''} ({seconds:.1f} s)"
    said = [f"It goes on {gaps}, {pace}."]
    if numbers.get("speech_share", 1.0) < 0.15:
        said.append("A voice is heard that is hardly speech, such as crying, laughing, sighing or whispering.")
    return said


def _of(value: float, low: float, small: str, high: float, large: str, between: str) -> str:
    return small if value < low else large if value > high else between


def _levels(waveform: Tensor) -> NDArray[np.float64]:
    """Level of each frame in dB of full scale."""
    size = round(FRAME_SECONDS * SAMPLE_RATE_HZ)
    frames = waveform[: len(waveform) // size * size].double().reshape(-1, size)
    level: NDArray[np.float64] = (10 * torch.log10(frames.square().mean(1) + 1e-12)).numpy()
    return level


def _pauses(active: NDArray[np.bool_]) -> list[float]:
    """Lengths of the quiet stretches between active ones, in seconds; those at both ends are no pauses."""
    runs = [(bool(value), sum(1 for _ in group) * FRAME_SECONDS) for value, group in groupby(active.tolist())]
    return [seconds for is_active, seconds in runs[1:-1] if not is_active and seconds >= PAUSE_SECONDS]


def _beats(level: NDArray[np.float64], active: NDArray[np.bool_]) -> float:
    """Peaks of the smoothed level a second of active sound."""
    smooth = np.convolve(level, np.ones(5) / 5, mode="same")
    inner = smooth[1:-1]
    peaks = (inner > smooth[:-2]) & (inner >= smooth[2:]) & active[1:-1]
    seconds = float(active.sum()) * FRAME_SECONDS
    return round(float(peaks.sum()) / seconds, 2) if seconds > 0 else 0.0


def _pitch(waveform: Tensor, active: NDArray[np.bool_]) -> dict[str, Any]:
    try:
        from torchaudio.functional import detect_pitch_frequency
    except ImportError as error:
        raise ConfigError(f"pitch needs torchaudio ({error}); run pip install 'affectgpt[annotate]'") from error
    found = detect_pitch_frequency(
        waveform[None],
        SAMPLE_RATE_HZ,
        frame_time=FRAME_SECONDS,
        win_length=9,
        freq_low=_LOWEST_HZ,
        freq_high=_HIGHEST_HZ,
    )[0].numpy()
    count = min(len(found), len(active))
    hertz, alike = _without_octave_errors(waveform.numpy(), found[:count])
    voiced = active[:count] & (alike > _VOICED) & (hertz > _LOWEST_HZ) & (hertz < _HIGHEST_HZ)
    numbers: dict[str, Any] = {"voiced_share": round(float(voiced.mean()), 3) if count else 0.0}
    semitones = 12 * np.log2(hertz[voiced] / 100)
    if len(semitones) < 5:
        return numbers
    thirds = np.array_split(semitones, 3)
    low, high = np.quantile(semitones, [0.1, 0.9])
    return numbers | {
        "pitch_hz": round(float(100 * 2 ** (np.median(semitones) / 12)), 1),
        "pitch_range": round(float(high - low), 2),
        "pitch_trend": round(float(np.median(thirds[2]) - np.median(thirds[0])), 2),
    }


def _without_octave_errors(
    sound: NDArray[np.float32], pitch: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The pitch of each frame, and how alike the sound is one period later, in [-1, 1].

    torchaudio may take several periods for one: the highest multiple of its pitch at which the sound is nearly as
    alike is the pitch.
    """
    size = round(FRAME_SECONDS * SAMPLE_RATE_HZ)
    hertz, alike = pitch.astype(np.float64), np.zeros(len(pitch))
    for number, low in enumerate(hertz.copy()):
        if low <= 0:
            continue
        start = number * size
        alike[number] = _alike(sound, start, 2 * size, low)
        multiples = [k * low for k in range(2, int(_HIGHEST_HZ // low) + 1)]
        higher = [h for h in multiples if _alike(sound, start, 2 * size, h) > _NEARLY * alike[number]]
        if higher and alike[number] > 0:
            hertz[number] = higher[-1]
    return hertz, alike


def _alike(sound: NDArray[np.float32], start: int, size: int, hertz: float) -> float:
    """Normalised correlation of a stretch of sound and the one a period later; the best of the lags around it."""
    lag = SAMPLE_RATE_HZ / hertz
    best = 0.0
    for step in {int(lag), int(lag) + 1}:
        here, there = sound[start : start + size], sound[start + step : start + step + size]
        if len(there) == size:
            scale = float(np.sqrt(np.dot(here, here) * np.dot(there, there)))
            best = max(best, float(np.dot(here, there)) / scale if scale > 1e-9 else 0.0)
    return best
