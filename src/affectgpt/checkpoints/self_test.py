"""A stored model's self-test: fixed inputs, some of the outputs, and how much they may differ on another machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import CheckpointError
from affectgpt.part import in_eval_mode
from affectgpt.types import Batch, Features

NUM_LOGITS = 64
NUM_TOKEN_VALUES = 16
TOLERANCE = 1e-3
"""Largest allowed difference, divided by the largest value, in single precision."""
TOLERANCE_HALF = 0.1
"""The same in half precision, in which the logits of a model of 30 layers are off by 2.4e-2 (bfloat16)."""


def record(model: Any) -> dict[str, Any]:
    """Run a model over fixed inputs.

    Args:
        model: An ``AffectGPT``.

    Returns:
        Plain JSON: ``inputs``, a hash of media and prompt ids; ``values``, the first numbers of each slot's tokens and
        evenly spaced logits of the first token of the answer; ``half``, the values that are computed in half precision.
    """
    batch = fixed_batch(model)
    with in_eval_mode(model), torch.no_grad():
        tokens = model.network.slot_tokens(batch.to(model.device))
        logits = model(batch.to(model.device)).logits[0, -1].float().cpu()
    spread = torch.linspace(0, len(logits) - 1, min(NUM_LOGITS, len(logits))).long()
    values = {name: value.flatten()[:NUM_TOKEN_VALUES].float().cpu().tolist() for name, value in tokens.items()}
    values["logits"] = logits[spread].tolist()
    half = [name for name in tokens if _is_half(model.encoders)] + (["logits"] if _is_half(model) else [])
    return {"inputs": _digest(model, batch), "values": values, "half": half, "torch": torch.__version__}


def check_record(record: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Check that a value read from a file is such a record.

    Raises:
        CheckpointError: If a key is missing or has a wrong value.
    """
    values, half = record.get("values"), record.get("half")
    good = {
        "inputs": isinstance(record.get("inputs"), str),
        "half": isinstance(half, list) and all(isinstance(name, str) for name in half),
        "settings": isinstance(record.get("settings"), str | None),
        "values": isinstance(values, dict) and all(_are_numbers(given) for given in values.values()),
    }
    wrong = [name for name, fits in good.items() if not fits]
    if wrong:
        raise CheckpointError(
            f"{path} is not a self-test written by save_pretrained: {wrong[0]!r} is {str(record.get(wrong[0]))[:80]}; "
            "store the model again"
        )
    return record


def compare(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Describe a difference of a self-test beyond numerical noise, or return ``None``.

    Args:
        wanted: The stored record.
        found: The new record.
    """
    if wanted.get("inputs") != found["inputs"]:
        return "its inputs have another hash: the tokenizer or the library produces other inputs than at storing"
    for name, values in wanted["values"].items():
        allowed = TOLERANCE_HALF if name in (*wanted["half"], *found["half"]) else TOLERANCE
        stored, here = (torch.tensor(given, dtype=torch.float64) for given in (values, found["values"].get(name, [])))
        if stored.shape != here.shape or not len(here):
            return f"{name} has {len(here)} values, but {len(stored)} were stored"
        difference = float((stored - here).abs().max() / stored.abs().max().clamp(min=1e-6))
        if not difference <= allowed:  # written so that NaN fails too
            return f"{name} differs by {difference:.2g} of its largest value; {allowed:g} is allowed"
    return None


def fixed_batch(model: Any) -> Batch:
    """One sample of synthetic media for every input of a model; integer arithmetic gives the same on every machine."""
    media: dict[str, Tensor] = {}
    keep: dict[str, Tensor] = {}
    features: dict[str, Features] = {}
    for name, spec in model.specs.items():
        source = str(spec.source)
        if not any(True for _ in model.encoder(name).parameters()):  # the stream's features come with the batch
            dim = int(model.encoder(name).out_dim)
            hidden = (torch.arange(2 * dim).reshape(1, 2, dim) * 37 % 101 - 50) / 50
            features[name] = Features(hidden, torch.ones(1, 2, dtype=torch.bool))
        elif source not in media:
            media[source] = model.media.source(source).specimen()
            keep[source] = torch.ones(media[source].shape[:2], dtype=torch.bool)
    return Batch(
        keys=("self-test",),
        media=media,
        keep=keep,
        subtitles=("I am fine, thank you.",),
        questions=(model.style.label_question,),
        features=features,
    )


def _are_numbers(value: Any) -> bool:
    """Whether it is a list of numbers that fit into double precision."""
    return isinstance(value, list) and all(
        isinstance(item, float) or (type(item) is int and abs(item) < 2**53) for item in value
    )


def _is_half(module: torch.nn.Module) -> bool:
    return any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in module.parameters())


def _digest(model: Any, batch: Batch) -> str:
    used = [tuple(model.network.num_tokens)]
    prompt = model.network.renderer(used, model.network.num_tokens, batch.questions, batch.subtitles)
    digest = hashlib.sha256()
    for tensor in (*batch.media.values(), *(f.hidden for f in batch.features.values()), prompt.ids):
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
