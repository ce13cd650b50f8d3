"""Builds the tiny released models of the reference folder, and the batches that they were recorded on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectgpt import AffectGPT
from affectgpt.types import Batch

SUBTITLE = "I don't know! I, I, I don't have experience in this area."
FILE = "checkpoint_000000_loss_0.000.pth"


def folders(oracle: Path) -> dict[str, Path]:
    models = oracle / "models"
    return {
        "clip": models / "clip-vit-large-patch14",
        "hubert": models / "chinese-hubert-large",
        "llm": models / "Qwen2.5-7B-Instruct",
        "bert": models / "bert-base-uncased",
    }


def load(oracle: Path, config: str, layout: str, **options: Any) -> AffectGPT:
    options = folders(oracle) | {"llm_dtype": "float32"} | options
    return AffectGPT.from_official(oracle / config / FILE, layout=layout, **options)


@cache
def loaded(oracle: Path, config: str, layout: str) -> AffectGPT:
    """One model for all tests that leave it as it is."""
    return load(oracle, config, layout)


def audio(oracle: Path, sample: str) -> Tensor:
    """The segments as the encoder is given them, without the mean of each: the authors' mel step takes it off."""
    stored = np.load(oracle / "preproc.npz")
    return torch.from_numpy(stored[f"{sample}.audio_as_loaded"][:, 0] - stored[f"{sample}.audio_clip_mean"])


def pictures(oracle: Path, source: str, sample: str) -> Tensor:
    stored = np.load(oracle / "preproc.npz")
    if source != "image":
        return torch.from_numpy(stored[f"{sample}.raw_{source}_uint8"]).transpose(0, 1)
    from PIL import Image

    resized = Image.fromarray(stored["image_input_hwc_uint8"]).resize((224, 224))
    return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None]


def batch(oracle: Path, model: AffectGPT, facts: dict, *, question: str | None = None, learn: bool = True) -> Batch:
    sample = facts["samples"][0]
    media = {}
    for spec in model.specs.values():
        source = str(spec.source)
        media[source] = (audio(oracle, sample) if source == "audio" else pictures(oracle, source, sample))[None]
    return Batch(
        keys=(sample,),
        media=media,
        keep={name: torch.ones(value.shape[:2], dtype=torch.bool) for name, value in media.items()},
        subtitles=(None if "image" in media else SUBTITLE,),
        questions=(question or model.style.label_question,),
        answers=(facts["target"][0].removesuffix("###"),) if learn else None,
    )


def off(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, over the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())
