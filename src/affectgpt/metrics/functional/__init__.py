"""The metrics as pure functions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "SampleScores": "affectgpt.metrics.functional.samples",
    "emotion_hit_rate": "affectgpt.metrics.functional.hit_rate",
    "emotion_sample_scores": "affectgpt.metrics.functional.samples",
    "emotion_wheel_score": "affectgpt.metrics.functional.wheel_score",
    "sentiment_score": "affectgpt.metrics.functional.sentiment",
    "unseen_words": "affectgpt.metrics.functional.samples",
}

if TYPE_CHECKING:
    from affectgpt.metrics.functional.hit_rate import emotion_hit_rate
    from affectgpt.metrics.functional.samples import SampleScores, emotion_sample_scores, unseen_words
    from affectgpt.metrics.functional.sentiment import sentiment_score
    from affectgpt.metrics.functional.wheel_score import emotion_wheel_score

__all__ = [
    "SampleScores",
    "emotion_hit_rate",
    "emotion_sample_scores",
    "emotion_wheel_score",
    "sentiment_score",
    "unseen_words",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.metrics.functional' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
