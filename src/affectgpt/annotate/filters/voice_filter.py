"""Tells speech, other voice, other sound and silence apart, and drops clips in which nothing is heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.annotate.describe.voice_cues import hear_voice
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.errors import ConfigError, did_you_mean

KINDS = ("speech", "voice", "sound", "silence", "no-track")
_SPEECH_SHARE, _VOICED_SHARE = 0.15, 0.05


class VoiceStage(Stage):
    """Writes ``voice``: what kind of sound a clip has.

    Voice activity detectors know speech: a clip in which somebody cries and whispers is 1 to 3 % speech to Silero, and
    is just what an emotion data set needs. So speech is told apart from other voice (periodic sound that is no speech),
    from other sound (whispers and sighs among it) and from silence, and by default only silence is dropped.

    Args:
        drop: Kinds of clips that are dropped: ``speech``, ``voice``, ``sound``, ``silence``, ``no-track``.
        find_speech: Whether silero-vad is asked; without it nothing is called ``speech``.

    Raises:
        ConfigError: If a kind is unknown.
    """

    writes = ("voice", "speech_share")
    isolated = True

    def __init__(self, drop: Sequence[str] = ("silence",), find_speech: bool = True) -> None:
        for kind in [drop] if isinstance(drop, str) else drop:
            if kind not in KINDS:
                raise ConfigError(f"drop names {kind!r}.{did_you_mean(kind, KINDS)} Known: {', '.join(KINDS)}")
        self._drop = (drop,) if isinstance(drop, str) else tuple(drop)
        self._find_speech = find_speech

    def identity(self) -> dict[str, Any]:
        """What is dropped, and whether speech is looked for."""
        return {"version": 1, "drop": list(self._drop), "find_speech": self._find_speech}

    def answer(self, record: ClipRecord) -> Answer:
        """The kind of one clip."""
        waveform = record.media.hear(record.key).waveform
        numbers = {} if waveform is None else hear_voice(waveform, find_speech=self._find_speech)
        kind = "no-track" if waveform is None else kind_of(numbers)
        found = {"voice": kind, "speech_share": numbers.get("speech_share")}
        if kind in self._drop:
            return Answer.drop({"no-track": "it has no sound track"}.get(kind, f"its sound is {kind}"), found)
        return Answer(fields=found)


def kind_of(numbers: dict[str, Any]) -> str:
    """The kind of a sound that ``hear_voice`` measured.

    Examples:
        >>> kind_of({"silent": False, "active_share": 0.5, "voiced_share": 0.2, "speech_share": 0.02})
        'voice'
    """
    if numbers["silent"] or not numbers.get("active_share"):
        return "silence"
    if numbers.get("speech_share", 0.0) >= _SPEECH_SHARE:
        return "speech"
    return "voice" if numbers.get("voiced_share", 0.0) >= _VOICED_SHARE else "sound"
