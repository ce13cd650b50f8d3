"""The smallest language-model heads around a model of transformers, by their attention."""

from __future__ import annotations

from affectgpt.llm import TinyLM


def tiny() -> TinyLM:
    """With SDPA."""
    return TinyLM(dim=16, layers=2, heads=2)


def eager() -> TinyLM:
    """With attention in plain operations."""
    head = tiny()
    head.network.set_attn_implementation("eager")
    return head
