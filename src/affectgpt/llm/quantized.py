"""Frozen weights of a language model in 4 bits, through bitsandbytes."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from affectgpt.errors import ConfigError, did_you_mean

FORMATS = ("nf4",)


def check_quantize(quantize: str | None, *, trainable: bool) -> None:
    """Refuse what cannot be in 4 bits.

    Args:
        quantize: One of ``FORMATS``, or ``None`` for weights as they are.
        trainable: Whether the weights are to be trained.

    Raises:
        ConfigError: If the format is unknown, the weights are to be trained, or bitsandbytes is not installed.
    """
    if quantize is None:
        return
    if quantize not in FORMATS:
        raise ConfigError(
            f"quantize: no format is called {quantize!r}.{did_you_mean(quantize, FORMATS)} Known: {', '.join(FORMATS)}"
        )
    if trainable:
        raise ConfigError(
            "quantize: weights in 4 bits cannot be trained; leave trainable out and train adapters (lora)"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("quantize needs bitsandbytes, which is not installed: pip install 'affectgpt[quantized]'")


def quantized_options(quantize: str | None, compute: torch.dtype) -> dict[str, Any]:
    """What ``from_pretrained`` is given; nothing for weights as they are.

    Args:
        quantize: See ``check_quantize``.
        compute: Type in which the layers are computed.
    """
    if quantize is None:
        return {}
    from transformers import BitsAndBytesConfig

    device = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=["lm_head"],
    )
    return {"quantization_config": config, "device_map": {"": device}}


def keep_trainable_layout(network: Any) -> None:
    """Keep quantised weights in the layout through which gradients flow.

    On a CPU with AVX-512, bitsandbytes rearranges the weights in the first forward pass without gradients, such as a
    validation. The kernel for that layout has no backward pass: gradients would then be wrong without an error.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
