"""The metrics as pure functions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Interval": "affectgpt.metrics.functional.bootstrap",
    "PairedDifference": "affectgpt.metrics.functional.bootstrap",
    "SampleScores": "affectgpt.metrics.functional.samples",
    "Summands": "affectgpt.metrics.functional.bootstrap",
    "bootstrap_difference": "affectgpt.metrics.functional.bootstrap",
    "bootstrap_interval": "affectgpt.metrics.functional.bootstrap",
    "emotion_hit_rate": "affectgpt.metrics.functional.hit_rate",
    "emotion_sample_scores": "affectgpt.metrics.functional.samples",
    "emotion_wheel_score": "affectgpt.metrics.functional.wheel_score",
    "hit_rate_summands": "affectgpt.metrics.functional.summands",
    "hit_skill_summands": "affectgpt.metrics.functional.summands",
    "label_words": "affectgpt.metrics.functional.samples",
    "sentiment_score": "affectgpt.metrics.functional.sentiment",
    "unseen_words": "affectgpt.metrics.functional.samples",
    "weighted_f1_summands": "affectgpt.metrics.functional.summands",
    "wheel_f1_summands": "affectgpt.metrics.functional.summands",
}

if TYPE_CHECKING:
    from affectgpt.metrics.functional.bootstrap import (
        Interval,
        PairedDifference,
        Summands,
        bootstrap_difference,
        bootstrap_interval,
    )
    from affectgpt.metrics.functional.hit_rate import emotion_hit_rate
    from affectgpt.metrics.functional.samples import SampleScores, emotion_sample_scores, label_words, unseen_words
    from affectgpt.metrics.functional.sentiment import sentiment_score
    from affectgpt.metrics.functional.summands import (
        hit_rate_summands,
        hit_skill_summands,
        weighted_f1_summands,
        wheel_f1_summands,
    )
    from affectgpt.metrics.functional.wheel_score import emotion_wheel_score

__all__ = [
    "Interval",
    "PairedDifference",
    "SampleScores",
    "Summands",
    "bootstrap_difference",
    "bootstrap_interval",
    "emotion_hit_rate",
    "emotion_sample_scores",
    "emotion_wheel_score",
    "hit_rate_summands",
    "hit_skill_summands",
    "label_words",
    "sentiment_score",
    "unseen_words",
    "weighted_f1_summands",
    "wheel_f1_summands",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.metrics.functional' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
