"""Fusion: poolings of one stream, pre-fusions of several, and the projector; imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Pooling": "base",
    "PreFusion": "base",
    "AttentionPooling": "pooling",
    "MeanPooling": "pooling",
    "QFormerPooling": "pooling",
    "SoftmaxAttentionPooling": "pooling",
    "AttentionPreFusion": "prefusion",
    "NoPreFusion": "prefusion",
    "QFormerPreFusion": "prefusion",
    "SoftmaxAttentionPreFusion": "prefusion",
    "Projector": "projector",
    "QFormer": "qformer",
}

if TYPE_CHECKING:
    from affectgpt.fusion.base import Pooling, PreFusion
    from affectgpt.fusion.pooling import AttentionPooling, MeanPooling, QFormerPooling, SoftmaxAttentionPooling
    from affectgpt.fusion.prefusion import AttentionPreFusion, NoPreFusion, QFormerPreFusion, SoftmaxAttentionPreFusion
    from affectgpt.fusion.projector import Projector
    from affectgpt.fusion.qformer import QFormer

__all__ = [
    "AttentionPooling",
    "AttentionPreFusion",
    "MeanPooling",
    "NoPreFusion",
    "Pooling",
    "PreFusion",
    "Projector",
    "QFormer",
    "QFormerPooling",
    "QFormerPreFusion",
    "SoftmaxAttentionPooling",
    "SoftmaxAttentionPreFusion",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.fusion' has no attribute {name!r}")
    return getattr(import_module(f"affectgpt.fusion.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
