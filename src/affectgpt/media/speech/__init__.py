"""Finds where somebody speaks, and writes down what is said.

Recognisers are in the registry ``affectgpt.registry.ASRS``; ``transcribe_clip`` uses one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Asr": "affectgpt.media.speech.base",
    "Segment": "affectgpt.media.speech.base",
    "Transcript": "affectgpt.media.speech.base",
    "speech_segments": "affectgpt.media.speech.activity",
    "build_asr": "affectgpt.media.speech.transcribe",
    "transcribe_clip": "affectgpt.media.speech.transcribe",
}

if TYPE_CHECKING:
    from affectgpt.media.speech.activity import speech_segments
    from affectgpt.media.speech.base import Asr, Segment, Transcript
    from affectgpt.media.speech.transcribe import build_asr, transcribe_clip

__all__ = ["Asr", "Segment", "Transcript", "build_asr", "speech_segments", "transcribe_clip"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.media.speech' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
