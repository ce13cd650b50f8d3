"""Chooses the attention implementation of an LLM, and says why."""

from __future__ import annotations

import importlib.util

import torch

from affectgpt.errors import ConfigError

BACKENDS = ("auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")


def choose_attention(requested: str = "auto", dtype: torch.dtype = torch.bfloat16) -> tuple[str, str]:
    """Name of the implementation for transformers, and the reason.

    Args:
        requested: One of ``BACKENDS``; ``auto`` takes flash-attention where it is installed and the device and dtype
            support it, else SDPA.
        dtype: Type of the LLM's weights; flash-attention reads half precision only.

    Raises:
        ConfigError: If the name is unknown.

    Examples:
        >>> choose_attention("sdpa")
        ('sdpa', 'asked for')
    """
    if requested not in BACKENDS:
        raise ConfigError(f"no attention backend is called {requested!r}; known: {', '.join(BACKENDS)}")
    if requested != "auto":
        return requested, "asked for"
    if not torch.cuda.is_available():
        return "sdpa", "no CUDA device"
    if importlib.util.find_spec("flash_attn") is None:
        return "sdpa", "flash-attn is not installed (pip install 'affectgpt[flash]')"
    if dtype not in (torch.float16, torch.bfloat16):
        return "sdpa", f"flash-attention reads half precision, the weights are {dtype}"
    capability = torch.cuda.get_device_capability()
    if capability < (8, 0):
        return "sdpa", f"flash-attention needs compute capability 8.0, the device has {capability[0]}.{capability[1]}"
    return "flash_attention_2", "flash-attn is installed and the device supports it"
