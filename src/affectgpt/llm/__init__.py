"""Language-model heads: any Hugging Face causal LM with LoRA, a packaged small one, and a tiny one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "LLMHead": "base",
    "LLMOutput": "base",
    "CausalLM": "causal_lm",
    "TinyLM": "tiny",
    "scatter_slots": "scatter",
    "smollm2_135m_instruct": "smollm2",
}

if TYPE_CHECKING:
    from affectgpt.llm.base import LLMHead, LLMOutput
    from affectgpt.llm.causal_lm import CausalLM
    from affectgpt.llm.scatter import scatter_slots
    from affectgpt.llm.smollm2 import smollm2_135m_instruct
    from affectgpt.llm.tiny import TinyLM

__all__ = ["CausalLM", "LLMHead", "LLMOutput", "TinyLM", "scatter_slots", "smollm2_135m_instruct"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
