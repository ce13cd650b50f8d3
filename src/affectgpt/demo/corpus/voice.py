"""The synthesised voices: harmonics of a glottal source under moving formants, in four speaking styles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectgpt.demo.corpus.states import VoiceName

SAMPLE_RATE_HZ = 16_000
CONTROL_RATE_HZ = 200
_HOP = SAMPLE_RATE_HZ // CONTROL_RATE_HZ

Array = NDArray[np.float64]

# First three formants in Hz of adult vowels, rounded from Peterson & Barney, "Control methods used in a study of the
# vowels", JASA 24 (1952), table II, between the figures for men and women.
VOWELS: Mapping[str, tuple[float, float, float]] = {
    "a": (790.0, 1160.0, 2630.0),
    "e": (570.0, 2080.0, 2740.0),
    "i": (290.0, 2540.0, 3160.0),
    "o": (580.0, 880.0, 2560.0),
    "u": (335.0, 910.0, 2450.0),
    "y": (410.0, 2230.0, 2810.0),
}


@dataclass(frozen=True)
class VoiceStyle:
    """A speaking style, independent of the speaker.

    Attributes:
        pitch: Factor on the speaker's own pitch.
        range_semitones: Pitch range of the syllables.
        glide_semitones: Movement within a syllable; above 0 rises, below 0 falls.
        tilt: Amplitude of the k-th harmonic is ``k ** -tilt``; small is shrill, large is dull.
        breath: Share of noise in the voice.
        roughness: Depth of the beating at half the pitch, which sounds like growling.
        tremor: Depth of the slow shaking, in semitones of pitch.
        shake: Depth of the slow shaking of the loudness, 0 to 1.
        level_db: Loudness relative to the other styles.
    """

    pitch: float
    range_semitones: float
    glide_semitones: float
    tilt: float
    breath: float
    roughness: float = 0.0
    tremor: float = 0.0
    shake: float = 0.0
    level_db: float = 0.0


# Speech rate is not part of a style: the mouth follows the syllables, and the picture must not reveal the voice.
STYLES: Mapping[VoiceName, VoiceStyle] = {
    "bright": VoiceStyle(1.30, 3.2, 3.0, 1.2, 0.03, level_db=1.0),
    "harsh": VoiceStyle(1.10, 2.0, -3.5, 0.55, 0.10, roughness=0.75, level_db=3.0),
    "flat": VoiceStyle(0.82, 0.15, -0.2, 1.9, 0.05, level_db=-2.0),
    "trembling": VoiceStyle(1.12, 0.8, -0.6, 1.5, 0.35, tremor=1.1, shake=0.65, level_db=-2.0),
}


@dataclass(frozen=True)
class Throat:
    """The constant properties of a speaker's voice.

    Attributes:
        pitch_hz: Usual pitch.
        formant_scale: Factor on all formants; a shorter vocal tract has a larger one.
    """

    pitch_hz: float
    formant_scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Throat:
        """Draw a speaker between a low and a high voice; high voices tend to have short vocal tracts."""
        height = rng.uniform()
        return cls(105.0 * 2.0 ** (height * 1.05), 0.9 + 0.22 * height + rng.uniform(-0.03, 0.03))


@dataclass(frozen=True)
class Speech:
    """One spoken sentence.

    Attributes:
        wave: Mono waveform, float32 ``[N]`` in [-1, 1], at ``SAMPLE_RATE_HZ``.
        openness: How far the mouth is open, float64 ``[N / (SAMPLE_RATE_HZ / CONTROL_RATE_HZ)]`` in [0, 1], the same
            for every style.
    """

    wave: NDArray[np.float32]
    openness: Array


def speak(style: VoiceName, throat: Throat, sentence: str, seconds: float, rng: np.random.Generator) -> Speech:
    """Say the vowels of a sentence.

    Args:
        style: Speaking style.
        throat: The speaker.
        sentence: The sentence; its vowels choose the formants, its words the pauses.
        seconds: Length of the recording; speech starts and ends a little inside of it.
        rng: Source of randomness for timing, melody, level and background noise.

    Returns:
        The waveform, ``round(seconds * CONTROL_RATE_HZ)`` control steps long, and the mouth's movement.
    """
    how = STYLES[style]
    num_steps = round(seconds * CONTROL_RATE_HZ)
    time = np.arange(num_steps) / CONTROL_RATE_HZ
    start, end = rng.uniform(0.08, 0.25), seconds - rng.uniform(0.08, 0.25)
    vowels, ends_word = _syllables(sentence, max(4, int((end - start) * rng.uniform(4.2, 6.0))))
    lengths = rng.uniform(0.8, 1.2, len(vowels)) * np.where(ends_word, 1.25, 1.0)
    edges = start + np.concatenate([[0.0], np.cumsum(lengths) / lengths.sum()]) * (end - start)
    index = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, len(vowels) - 1)
    within = np.clip((time - edges[index]) / np.diff(edges)[index], 0.0, 1.0)
    speaking = (time >= start) & (time < end)
    stress = rng.uniform(0.75, 1.0, len(vowels))
    openness = np.where(speaking, stress[index] * np.sin(np.pi * within) ** 0.6, 0.0)

    steps = rng.normal(0.0, 1.0, len(vowels))
    semitones = how.range_semitones * _smooth((steps - steps.mean())[index], 9) + how.glide_semitones * (within - 0.5)
    semitones += rng.normal(0.0, 0.6) - 0.8 * (time - seconds / 2)
    shaking = np.sin(2 * np.pi * (rng.uniform(5.5, 7.5) * time + rng.uniform()))
    semitones += how.tremor * shaking + 0.15 * _smooth(rng.normal(0.0, 1.0, num_steps), 5)
    pitch_hz = throat.pitch_hz * how.pitch * 2.0 ** (semitones / 12.0)
    loudness = openness * (1.0 - how.shake * (0.5 + 0.5 * shaking))

    formants = np.stack([_smooth(track, 9) for track in np.array([VOWELS[v] for v in vowels])[index].T])
    wave = _voiced(pitch_hz, loudness, formants * throat.formant_scale, how, rng)
    wave *= 10.0 ** ((-21.0 + how.level_db + rng.uniform(-3.0, 3.0)) / 20.0) / (np.sqrt(np.mean(wave**2)) + 1e-9)
    wave += _room_noise(len(wave), rng) * 10.0 ** (rng.uniform(-58.0, -46.0) / 20.0)
    return Speech(np.clip(wave, -0.99, 0.99).astype(np.float32), openness)


def _syllables(sentence: str, most: int) -> tuple[list[str], NDArray[np.bool_]]:
    """The vowels of a sentence, at most ``most``, and whether each ends a word."""
    vowels: list[str] = []
    ends: list[bool] = []
    for word in re.findall(r"[a-z]+", sentence.lower()):
        found = [group[0] for group in re.findall(r"[aeiouy]+", word)] or ["e"]
        vowels += found
        ends += [False] * (len(found) - 1) + [True]
    return vowels[:most], np.array(ends[:most])


def _voiced(pitch_hz: Array, loudness: Array, formants: Array, how: VoiceStyle, rng: np.random.Generator) -> Array:
    """Harmonics and breath under the formants; ``formants`` is [3, steps], the rest [steps]; returns [steps * hop]."""
    num_samples = len(pitch_hz) * _HOP
    sample = np.arange(num_samples) / _HOP
    control = np.arange(len(pitch_hz))
    phase = 2 * np.pi * np.cumsum(np.interp(sample, control, pitch_hz)) / SAMPLE_RATE_HZ
    gain = np.interp(sample, control, loudness)
    wave = np.zeros(num_samples)
    for k in range(1, int(5500.0 / pitch_hz.min()) + 1):
        amplitude = _envelope(k * pitch_hz, formants) * k**-how.tilt
        wave += np.interp(sample, control, amplitude) * np.sin(k * phase + k * k * 0.7)
    if how.roughness:
        wave *= 1.0 - how.roughness * (0.5 + 0.5 * np.sin(phase / 2 + 0.8 * _smooth(rng.normal(size=num_samples), 401)))
    wave *= gain / (np.sqrt(np.mean((wave * gain) ** 2)) + 1e-9)
    noise = _shaped_noise(formants, rng) * gain
    noise *= how.breath / (np.sqrt(np.mean(noise**2)) + 1e-9)
    return wave + noise


def _envelope(freq_hz: Array, formants: Array) -> Array:
    """Gain of the vocal tract: a sum of resonances, one per formant, and nothing above 5.5 kHz."""
    total = np.zeros(np.broadcast_shapes(freq_hz.shape, formants[0].shape))
    for centre, width, weight in zip(formants, (90.0, 130.0, 200.0), (1.0, 0.6, 0.35), strict=True):
        total += weight / np.sqrt(1.0 + ((freq_hz - centre) / width) ** 2)
    return np.where(freq_hz < 5500.0, total, 0.0)


def _shaped_noise(formants: Array, rng: np.random.Generator) -> Array:
    """White noise under the formants, by overlapping windows of two control steps; returns [steps * hop]."""
    num_steps = formants.shape[1]
    window = 2 * _HOP
    noise = rng.normal(size=(num_steps + 1) * _HOP)
    frames = np.stack([noise[:-_HOP].reshape(num_steps, _HOP), noise[_HOP:].reshape(num_steps, _HOP)], axis=1)
    spectra = np.fft.rfft(frames.reshape(num_steps, window), axis=1)
    freq: Array = np.fft.rfftfreq(window, 1 / SAMPLE_RATE_HZ).astype(np.float64)
    spectra *= _envelope(freq[None, :], formants[:, :, None])
    shaped = np.fft.irfft(spectra, axis=1) * np.hanning(window)
    out = np.zeros((num_steps + 1) * _HOP)
    out[: num_steps * _HOP] += shaped[:, :_HOP].ravel()
    out[_HOP:] += shaped[:, _HOP:].ravel()
    return out[: num_steps * _HOP]


def _room_noise(num_samples: int, rng: np.random.Generator) -> Array:
    """Dull background noise of unit power."""
    spectrum = np.fft.rfft(rng.normal(size=num_samples))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 20.0)
    noise = np.fft.irfft(spectrum, num_samples)
    return np.asarray(noise / noise.std())


def _smooth(track: Array, width: int) -> Array:
    """Moving average with edges held."""
    padded = np.pad(track, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")
