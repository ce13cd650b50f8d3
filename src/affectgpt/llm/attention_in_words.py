"""Says in words which attention a head runs, and why."""

from __future__ import annotations

from typing import Any

from affectgpt.llm.packed_attention import SDPA


def attention_in_words(head: Any) -> str:
    """Which attention a head runs, with the reason in brackets.

    Args:
        head: An ``LLMHead``.
    """
    config = getattr(getattr(head, "network", None), "config", None)
    backend = getattr(config, "_attn_implementation", None)
    if backend is None:
        return f"its own (the head {type(head).__name__} leaves no choice)"
    name = "sdpa" if backend == SDPA else backend  # ours is SDPA too
    return f"{name} ({head.attention_reason})"
