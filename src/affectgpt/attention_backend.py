"""Chooses the attention implementation of a transformers network, and says why."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from affectgpt.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

BACKENDS = ("auto", "flash_attention_2", "flash_attention_3", "flash_attention_4", "sdpa", "flex", "eager")

FLASH: Mapping[str, tuple[tuple[int, int], tuple[int, int], str]] = {
    "flash_attention_3": ((9, 0), (9, 0), "flash-attn-3"),
    "flash_attention_4": ((9, 0), (12, 9), "flash-attn-4"),
    "flash_attention_2": ((8, 0), (12, 9), "flash-attn"),
}
"""Least and highest compute capability of each, and its package; in the order in which ``auto`` takes them. On Hopper
(9.0) the fourth is no faster than the third; it is for Blackwell."""


def choose_attention(requested: str = "auto", dtype: torch.dtype = torch.bfloat16) -> tuple[str, str]:
    """Name of the implementation for transformers, and the reason.

    Args:
        requested: One of ``BACKENDS``; ``auto`` takes flash-attention where it is installed and the device and dtype
            support it, else SDPA. Flash-attention that cannot run here gives way to SDPA with a warning: a model that
            was trained with it is then read on any machine, and its outputs are the same but for rounding.
        dtype: Type of the weights; flash-attention reads half precision only.

    Raises:
        ConfigError: If the name is unknown.

    Examples:
        >>> choose_attention("sdpa")
        ('sdpa', 'asked for')
    """
    if requested not in BACKENDS:
        raise ConfigError(
            f"unknown attention backend {requested!r}.{did_you_mean(requested, BACKENDS)} Known: {', '.join(BACKENDS)}"
        )
    if requested in FLASH:
        lacking = _lacking(requested, dtype)
        if lacking is None:
            return requested, "asked for"
        log.warning("attention: %s was asked for, but %s; SDPA is used", requested, lacking)
        return "sdpa", f"{requested} was asked for, but {lacking}"
    if requested != "auto":
        return ("flex_attention" if requested == "flex" else requested), "asked for"
    reasons = {name: _lacking(name, dtype) for name in FLASH}
    for name, lacking in reasons.items():
        if lacking is None:
            return name, f"{FLASH[name][2]} is installed and the device supports it"
    return "sdpa", str(reasons["flash_attention_2"])


def attention_options(requested: str, dtype: torch.dtype, network_class: Any) -> dict[str, Any]:
    """What ``from_pretrained`` of an encoder's class is given for a backend.

    Args:
        requested: One of ``BACKENDS``.
        dtype: Type of the weights.
        network_class: The class of transformers that is built.

    Returns:
        Nothing where the class runs neither the backend that ``auto`` chose, nor says so: it then takes its own.

    Raises:
        ConfigError: If the name is unknown, or the class cannot run a backend that was asked for.
    """
    name, _ = choose_attention(requested, dtype)
    kind = "flash_attn" if name in FLASH else {"flex_attention": "flex_attn"}.get(name, name)
    if name == "eager" or getattr(network_class, f"_supports_{kind}", False):
        return {"attn_implementation": name}
    if requested == name or requested == "flex":
        raise ConfigError(
            f"attention: {network_class.__name__} cannot run {requested!r}; give auto, which takes what it can run"
        )
    return {}


def _lacking(name: str, dtype: torch.dtype) -> str | None:
    """Why a kind of flash-attention cannot run here; ``None`` if it can."""
    least, highest, package = FLASH[name]
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"it reads half precision, and the weights are {dtype}"
    capability = torch.cuda.get_device_capability()
    if not least <= capability <= highest:
        return f"it needs compute capability {least[0]}.{least[1]}, and the device has {capability[0]}.{capability[1]}"
    from transformers import utils

    if not getattr(utils, f"is_flash_attn_{name[-1]}_available", lambda: False)():
        return f"{package} is not installed (docs/speed.md tells how)"
    return None
