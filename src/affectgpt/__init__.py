"""Multimodal emotion understanding: encoders, pre-fusion, LLM, data and metrics that compose by name.

Importing the package is cheap: public names are loaded on first use, and no torch before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "AffectGPT": "affectgpt.model",
    "bench": "affectgpt.bench",
    "checkpoints": "affectgpt.checkpoints",
    "datamodules": "affectgpt.datamodules",
    "encoders": "affectgpt.encoders",
    "fusion": "affectgpt.fusion",
    "llm": "affectgpt.llm",
    "media": "affectgpt.media",
    "metrics": "affectgpt.metrics",
    "prompts": "affectgpt.prompts",
    "registry": "affectgpt.registry",
}

if TYPE_CHECKING:
    from affectgpt.model import AffectGPT

__all__ = ["AffectGPT", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return module if _LAZY[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY])
