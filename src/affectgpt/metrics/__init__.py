"""Metrics for free-form emotion answers: the wheel vocabulary, pure functions and torchmetrics classes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "EmotionHitRate": "affectgpt.metrics.hit_rate",
    "EmotionWheel": "affectgpt.metrics.wheel",
    "EmotionWheelScore": "affectgpt.metrics.wheel_score",
    "SentimentScore": "affectgpt.metrics.sentiment",
    "functional": "affectgpt.metrics.functional",
    "parse_labels": "affectgpt.metrics.labels",
}

if TYPE_CHECKING:
    from affectgpt.metrics.hit_rate import EmotionHitRate
    from affectgpt.metrics.labels import parse_labels
    from affectgpt.metrics.sentiment import SentimentScore
    from affectgpt.metrics.wheel import EmotionWheel
    from affectgpt.metrics.wheel_score import EmotionWheelScore

__all__ = ["EmotionHitRate", "EmotionWheel", "EmotionWheelScore", "SentimentScore", "parse_labels"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.metrics' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return module if _LAZY[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "functional"])
