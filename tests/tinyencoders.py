"""Local folders of tiny CLIP and HuBERT networks with random weights, and models that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, HubertConfig, HubertModel

_SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def save_clip(folder: Path, seed: int = 1) -> Path:
    """A CLIP tower of 12 wide vectors."""
    torch.manual_seed(seed)
    network = CLIPVisionModelWithProjection(CLIPVisionConfig(**_SIZE, image_size=32, patch_size=16, projection_dim=12))
    network.save_pretrained(folder)
    return folder


def save_hubert(folder: Path, seed: int = 1) -> Path:
    """A HuBERT of 16 wide vectors."""
    torch.manual_seed(seed)
    convolutions = {"conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [5, 4]}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    config = HubertConfig(**_SIZE, **convolutions, **positions, feat_extract_norm="layer", do_stable_layer_norm=True)
    HubertModel(config).save_pretrained(folder)
    return folder


def tiny_config(**changes: Any) -> dict[str, Any]:
    """A model with tiny encoders of its own, frozen."""
    return {
        "streams": {
            "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 32, "dim": 12}}},
            "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 16, "num_mels": 16, "channels": 8}}},
        },
        "llm": {"name": "tiny", "args": {"dim": 32}},
        "style": "brief",
        "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 40, "frame_width": 40},
        "max_new_tokens": 8,
        "optim": {"lr": 0.003, "warmup_steps": 0},
        **changes,
    }


def pretrained_config(clip: Path, hubert: Path, **changes: Any) -> dict[str, Any]:
    """A model whose encoders read their weights from folders."""
    streams = {
        "frame": {"encoder": {"name": "clip", "args": {"path": str(clip)}}},
        "audio": {"encoder": {"name": "hubert", "args": {"path": str(hubert), "layers": 2, "normalize": "clip"}}},
    }
    return tiny_config(**{"streams": streams, **changes})
