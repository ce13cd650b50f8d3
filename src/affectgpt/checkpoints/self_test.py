"""A stored model's self-test: fixed inputs, a few numbers that come out, and how far they may differ elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from affectgpt.types import SOURCES, Batch, Features, Modality

NUM_LOGITS = 64
NUM_TOKEN_VALUES = 16
TOLERANCE = 1e-3
"""Largest difference, over the largest value, in single precision; 3e-2 where a part runs in half precision."""
TOLERANCE_HALF = 3e-2


def record(model: Any) -> dict[str, Any]:
    """Run a model over fixed inputs.

    Args:
        model: An ``AffectGPT``.

    Returns:
        Plain JSON: ``inputs``, a hash of media and prompt ids; ``values``, the first numbers of each slot's tokens and
        evenly spaced logits of the first token of the answer; ``half``, whether a part runs in half precision.
    """
    batch = fixed_batch(model)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            tokens = model.slot_tokens(batch.to(model.device))
            logits = model(batch.to(model.device)).logits[0, -1].float().cpu()
    finally:
        model.train(training)
    spread = torch.linspace(0, len(logits) - 1, min(NUM_LOGITS, len(logits))).long()
    values = {name: value.flatten()[:NUM_TOKEN_VALUES].float().cpu().tolist() for name, value in tokens.items()}
    values["logits"] = logits[spread].tolist()
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())
    return {"inputs": _digest(model, batch), "values": values, "half": half, "torch": torch.__version__}


def compare(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Say what of a self-test differs by more than numeric noise, or ``None``.

    Args:
        wanted: The stored record.
        found: The record at hand.
    """
    if wanted.get("inputs") != found["inputs"]:
        return "its inputs have another hash: the tokenizer or the library makes other inputs than when it was stored"
    allowed = TOLERANCE_HALF if wanted.get("half") or found["half"] else TOLERANCE
    for name, values in wanted["values"].items():
        stored, here = torch.tensor(values), torch.tensor(found["values"].get(name, []))
        if stored.shape != here.shape:
            return f"{name} has {len(here)} values, {len(stored)} were stored"
        difference = float((stored - here).abs().max() / stored.abs().max().clamp(min=1e-6))
        if not difference <= allowed:  # not a number is a failure too
            return f"{name} differs by {difference:.2g} of its largest value, {allowed:g} is allowed"
    return None


def fixed_batch(model: Any) -> Batch:
    """One sample of synthetic media for every input of a model; whole-number arithmetic, the same on every machine."""
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
            media[source] = _sound(model) if SOURCES[source] is Modality.AUDIO else _frames(model)
            keep[source] = torch.ones(1, 2, dtype=torch.bool)
    return Batch(
        keys=("self-test",),
        media=media,
        keep=keep,
        subtitles=("I am fine, thank you.",),
        questions=(model.style.label_question,),
        features=features,
    )


def _frames(model: Any) -> Tensor:
    height, width = model.media.frame_height or 224, model.media.frame_width or 224
    time, channel = torch.arange(2)[:, None, None, None], torch.arange(3)[:, None, None]
    row, column = torch.arange(height)[:, None], torch.arange(width)
    pattern = 90 * time + 31 * channel + 3 * row + 5 * column + (row * column >> 4)
    return (pattern % 256).to(torch.uint8)[None]


def _sound(model: Any) -> Tensor:
    sample = torch.arange(model.media.segment_samples)
    waves = [(sample * step % 2000 - 1000) / 4000 for step in (37, 53)]
    return torch.stack(waves)[None].float()


def _digest(model: Any, batch: Batch) -> str:
    used = [tuple(name for name in model.num_tokens)]
    prompt = model.renderer(used, model.num_tokens, batch.questions, batch.subtitles)
    digest = hashlib.sha256()
    for tensor in (*batch.media.values(), *(f.hidden for f in batch.features.values()), prompt.ids):
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
