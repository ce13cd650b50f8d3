"""Encoders: frames or audio segments in, one feature vector each; imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "AudioSpec": "base",
    "Encoder": "base",
    "VisualSpec": "base",
    "ClipVitEncoder": "clip",
    "PrecomputedEncoder": "precomputed",
    "SpeechEncoder": "hubert",
    "TimmEncoder": "timm",
    "TinyAudioEncoder": "tiny",
    "TinyVisionEncoder": "tiny",
    "TorchaudioEncoder": "torchaudio",
    "clip_vit_large_14_openai": "clip",
    "hubert_large_chinese": "hubert",
}

if TYPE_CHECKING:
    from affectgpt.encoders.base import AudioSpec, Encoder, VisualSpec
    from affectgpt.encoders.clip import ClipVitEncoder, clip_vit_large_14_openai
    from affectgpt.encoders.hubert import SpeechEncoder, hubert_large_chinese
    from affectgpt.encoders.precomputed import PrecomputedEncoder
    from affectgpt.encoders.timm import TimmEncoder
    from affectgpt.encoders.tiny import TinyAudioEncoder, TinyVisionEncoder
    from affectgpt.encoders.torchaudio import TorchaudioEncoder

__all__ = [
    "AudioSpec",
    "ClipVitEncoder",
    "Encoder",
    "PrecomputedEncoder",
    "SpeechEncoder",
    "TimmEncoder",
    "TinyAudioEncoder",
    "TinyVisionEncoder",
    "TorchaudioEncoder",
    "VisualSpec",
    "clip_vit_large_14_openai",
    "hubert_large_chinese",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.encoders' has no attribute {name!r}")
    return getattr(import_module(f"affectgpt.encoders.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
