"""The contract of a speech recogniser, and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000
"""Sample rate of the input of recognisers and of the voice activity detector."""


@dataclass(frozen=True)
class Segment:
    """A stretch of speech.

    Attributes:
        start_seconds: Where it begins in the clip.
        end_seconds: Where it ends.
        text: What was said, or ``None`` if it is not transcribed yet.
    """

    start_seconds: float
    end_seconds: float
    text: str | None = None


@dataclass(frozen=True)
class Transcript:
    """The spoken words of a clip.

    Attributes:
        text: The words, or ``None`` if there are none.
        segments: The stretches in which somebody speaks.
        language: Code of the language (``"en"``, ``"zh"``), or ``None`` if the recogniser does not report it.
        reason: Why there is no text, or ``None``.
    """

    text: str | None
    segments: tuple[Segment, ...] = ()
    language: str | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the transcript."""
        segments = [
            {"start_seconds": round(s.start_seconds, 3), "end_seconds": round(s.end_seconds, 3), "text": s.text}
            for s in self.segments
        ]
        return {"text": self.text, "segments": segments, "language": self.language, "reason": self.reason}


class Asr(ABC):
    """Writes down what is said; derive from it and register the class in ``affectgpt.registry.ASRS``."""

    @abstractmethod
    def transcribe(self, waveform: Tensor, language: str | None = None) -> tuple[str, str | None]:
        """Write down one stretch of speech.

        Args:
            waveform: float32 ``[N]``, mono, 16 kHz, at most half a minute, with speech in it.
            language: Code of the language, or ``None`` to let the recogniser detect it.

        Returns:
            The words, and the language or ``None``.
        """
