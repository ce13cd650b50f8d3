"""Exports the language model of a checkpoint, adapters merged, as a plain folder of transformers."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

import affectgpt
from affectgpt.checkpoints.card import merged_card
from affectgpt.errors import CheckpointError, ConfigError, DataError, reason_of
from affectgpt.files import draft_folder, read_json
from affectgpt.llm.causal_lm import DTYPES, HuggingFaceHead

RECORD = "affectgpt_export.json"
LARGEST_RECORD = 2**16
LARGEST_DIFFERENCE = 1e-5
"""Largest difference of a logit in float32, relative to the largest logit, that merging may cause."""


@dataclass(frozen=True)
class MergedLLM:
    """What was exported.

    Attributes:
        affectgpt: Version of the library.
        adapters: Layers whose adapters were merged.
        dtype: Type of the weights.
        hidden_dim: Width of the embeddings that the model takes.
        logit_difference: Largest difference between the logits before and after, on a random prompt, relative to the
            largest logit. In half precision it is of the size of the rounding.
        stop: Strings that end an answer, besides the end-of-sequence token.
        adapters_digest: Which adapters were merged, see ``digest_of_adapters``; ``None`` if there were none.
    """

    affectgpt: str
    adapters: int
    dtype: str
    hidden_dim: int
    logit_difference: float
    stop: tuple[str, ...]
    adapters_digest: str | None


def export_merged(model: Any, folder: str | Path, *, dtype: str | None = None, in_place: bool = False) -> MergedLLM:
    """Write the language model of a model as a folder that transformers, vLLM and others read.

    Args:
        model: An ``AffectGPT``.
        folder: The folder to make; an existing one is replaced when the new one is whole.
        dtype: Type of the written weights: ``float32``, ``bfloat16`` or ``float16``; by default as they are. Adapters
            are merged before the weights are rounded to it.
        in_place: Merge into the model itself, which has no adapters afterwards; else a copy is made, which takes as
            much memory again.

    Raises:
        CheckpointError: If the merged model computes something else.
        ConfigError: If the model cannot be merged.
    """
    head = model.llm
    check_mergeable(head, dtype)
    ids = torch.randint(0, _num_tokens(head), (2, 24), generator=torch.Generator().manual_seed(0))
    training = head.training
    head.eval()
    before = _logits(head.network, ids)
    network = head.network if in_place else copy.deepcopy(head.network)
    adapters, digest = 0, digest_of_adapters({f"llm.{name}": one for name, one in head.state_dict().items()})
    if hasattr(network, "merge_and_unload"):
        adapters = _num_adapters(network)
        if dtype is not None and DTYPES[dtype] != next(network.parameters()).dtype:
            network.float()
        try:
            network = network.merge_and_unload(safe_merge=True)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"the adapters cannot be merged: {reason_of(error)}") from error
        if in_place:
            head.network = network
    if dtype is not None:
        network.to(DTYPES[dtype])
    difference = float((_logits(network, ids) - before).abs().max() / before.abs().max().clamp(min=1.0))
    written = str(next(network.parameters()).dtype).removeprefix("torch.")
    if not difference <= LARGEST_DIFFERENCE and written == "float32":
        raise CheckpointError(
            f"the merged language model computes something else: its logits differ by {difference:.1e} of the largest, "
            f"but merging in float32 may change {LARGEST_DIFFERENCE:.0e}; please report it"
        )
    stop = tuple(model.style.stop.strings)
    facts = MergedLLM(affectgpt.__version__, adapters, written, head.hidden_dim, difference, stop, digest)
    with draft_folder(folder) as made:
        network.save_pretrained(made)
        head.tokenizer.save_pretrained(made)
        (made / "README.md").write_text(merged_card(model, asdict(facts)), "utf-8")
        (made / RECORD).write_text(json.dumps(asdict(facts), indent=2, ensure_ascii=False) + "\n", "utf-8")
    head.train(training)
    return facts


def digest_of_adapters(tensors: Mapping[str, Any]) -> str | None:
    """Which adapters a model has: a hash of their names and values in float32; ``None`` without any.

    Args:
        tensors: The model's tensors by name, those of the language model under ``llm.``.
    """
    found = {name: tensor for name, tensor in tensors.items() if name.startswith("llm.") and ".lora_" in name}
    if not found:
        return None
    digest = hashlib.sha256()
    for name in sorted(found):
        values = found[name].detach().float().cpu().contiguous()
        digest.update(f"{name}\0{list(values.shape)}\0".encode() + values.numpy().tobytes())
    return digest.hexdigest()


def merged_adapters(folder: str | Path) -> str | None:
    """The digest of the adapters that are merged into the language model in a folder; ``None`` if none are known.

    Raises:
        CheckpointError: If the folder's record is damaged.
    """
    record = Path(folder) / RECORD
    if not record.is_file():
        return None
    try:
        facts = read_json(record, most_bytes=LARGEST_RECORD)
    except DataError as error:
        raise CheckpointError(f"{error}; export the language model again") from error
    digest = facts.get("adapters_digest") if isinstance(facts, dict) else None
    return digest if isinstance(digest, str) else None


def check_mergeable(head: Any, dtype: str | None = None) -> None:
    """Refuse a language model that cannot be written as a plain folder.

    Args:
        head: The model's ``LLMHead``.
        dtype: See ``export_merged``.

    Raises:
        ConfigError: If it is no model of transformers, its weights are in 4 bits or shared between ranks, or the type
            is unknown.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    if not isinstance(head, HuggingFaceHead):
        raise ConfigError(
            f"the language model is a {type(head).__name__}, which holds no model of transformers: there is nothing "
            "that other programs could load"
        )
    base = head.network.get_base_model() if hasattr(head.network, "get_base_model") else head.network
    if getattr(base, "is_quantized", False) or getattr(base.config, "quantization_config", None) is not None:
        raise ConfigError(
            "the weights of the language model are quantised (quantize: nf4), and adapters merged into 4 bits would be "
            "rounded away; load the checkpoint with quantize null, and export that"
        )
    if any(isinstance(one, DTensor) for one in head.network.parameters()):
        raise ConfigError("the language model is sharded; export from the stored checkpoint, in one process")


@torch.no_grad()
def _logits(network: Any, ids: Tensor) -> Tensor:
    device = network.get_input_embeddings().weight.device
    logits: Tensor = network(input_ids=ids.to(device), use_cache=False).logits
    return logits.float().cpu()


def _num_tokens(head: HuggingFaceHead) -> int:
    return int(head.network.get_input_embeddings().weight.shape[0])


def _num_adapters(network: Any) -> int:
    from peft.tuners.lora import LoraLayer

    return sum(isinstance(module, LoraLayer) for module in network.modules())
