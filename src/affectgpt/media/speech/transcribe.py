"""Transcribes the speech in a clip, and gives no text if nobody speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectgpt.media.decode.decoder import Decoded, decode
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.activity import is_silent, speech_segments
from affectgpt.media.speech.base import SAMPLE_RATE_HZ, Asr, Segment, Transcript
from affectgpt.registry import ASRS, Spec

LONGEST_SECONDS = 28.0
"""Recognisers accept half a minute at most."""
MARGIN_SECONDS = 0.2
"""Seconds added on each side of a stretch of speech, so that no sound is cut."""
SPEECH_PROFILE = MediaProfile(sources=("audio",), sample_rate_hz=SAMPLE_RATE_HZ)
"""The decoding settings for speech recognition."""


def transcribe_clip(
    source: str | Path | bytes,
    asr: Asr | Spec | str | Mapping[str, Any],
    *,
    language: str | None = None,
    key: str | None = None,
) -> Transcript:
    """Transcribe the speech in a clip.

    Recognisers invent words where there are none, so they only get the stretches in which somebody speaks (see
    ``speech_segments``); a clip without speech gets no text, but a reason.

    Args:
        source: A media file, or its content.
        asr: A recogniser, or its name: see ``build_asr``.
        language: Code of the language, or ``None`` to let the recogniser detect it.
        key: The sample's name, for messages.

    Raises:
        ConfigError: If the recogniser, or ``silero-vad``, cannot be used.
        DataError: If the file cannot be decoded.
    """
    return transcribe_sound(decode(source, SPEECH_PROFILE, key=key), asr, language=language)


def transcribe_sound(
    decoded: Decoded, asr: Asr | Spec | str | Mapping[str, Any], *, language: str | None = None
) -> Transcript:
    """Transcribe a sound that was decoded with ``SPEECH_PROFILE``; see ``transcribe_clip``."""
    if decoded.waveform is None:
        return Transcript(None, reason=decoded.missing["audio"])
    waveform = decoded.waveform
    if is_silent(waveform):
        return Transcript(None, reason="its audio track is silent")
    stretches = speech_segments(waveform)
    if not stretches:
        return Transcript(None, reason="nobody speaks in its audio track")
    recogniser = asr if isinstance(asr, Asr) else build_asr(asr)
    segments = []
    for stretch in join_segments(stretches):
        start = max(0, round((stretch.start_seconds - MARGIN_SECONDS) * SAMPLE_RATE_HZ))
        end = round((stretch.end_seconds + MARGIN_SECONDS) * SAMPLE_RATE_HZ)
        words, spoken = recogniser.transcribe(waveform[start:end], language)
        language = language or spoken  # one clip, one language
        segments.append(Segment(stretch.start_seconds, stretch.end_seconds, words.strip()))
    text = " ".join(segment.text for segment in segments if segment.text)
    reason = None if text else "the recogniser understood nothing"
    return Transcript(text or None, tuple(segments), language, reason)


def build_asr(value: Spec | str | Mapping[str, Any]) -> Asr:
    """Build a recogniser from its name.

    Args:
        value: ``NAME`` or ``NAME:MODEL`` with a registered name and a folder or a model of the hub, such as
            ``faster-whisper:small`` or ``transformers:openai/whisper-small``; or a spec.

    Raises:
        ConfigError: If the name is unknown, or a package that it needs is missing.
    """
    if isinstance(value, str):
        name, colon, model = value.partition(":")
        if colon and name in ASRS:
            value = Spec(name, {"model": model})
    built: Asr = ASRS.build(value)
    return built


def join_segments(segments: Sequence[Segment], longest_seconds: float = LONGEST_SECONDS) -> list[Segment]:
    """Join neighbouring stretches as long as a recogniser accepts the result; longer ones are cut.

    Examples:
        >>> join_segments([Segment(0, 2), Segment(3, 5), Segment(29, 31)])
        [Segment(start_seconds=0, end_seconds=5, text=None), Segment(start_seconds=29, end_seconds=31, text=None)]
    """
    pieces: list[Segment] = []
    for segment in segments:
        start = segment.start_seconds
        while segment.end_seconds - start > longest_seconds:
            pieces.append(Segment(start, start + longest_seconds))
            start += longest_seconds
        pieces.append(Segment(start, segment.end_seconds))
    joined: list[Segment] = []
    for piece in pieces:
        if joined and piece.end_seconds - joined[-1].start_seconds <= longest_seconds:
            joined[-1] = Segment(joined[-1].start_seconds, piece.end_seconds)
        else:
            joined.append(piece)
    return joined
