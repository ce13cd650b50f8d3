"""Networks of the published sizes, or small ones of the same kinds, with random weights: what the benchmarks run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from affectgpt import AffectGPT


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        name: What the report calls it.
        vision: Configuration of CLIP's image tower.
        speech: Configuration of HuBERT.
        llm: Configuration of Qwen2.
        frames: Frames of a clip.
        frame_size: Rows and columns of a frame as decoded.
        windows: Windows of sound of a clip.
        window_samples: Samples of a window.
    """

    name: str
    vision: Mapping[str, Any]
    speech: Mapping[str, Any]
    llm: Mapping[str, Any]
    frames: int = 8
    frame_size: int = 224
    windows: int = 8
    window_samples: int = 32_000


SMALL = Sizes(
    name="small",
    vision={
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
        "patch_size": 32, "image_size": 224, "projection_dim": 128,
    },
    speech={
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "conv_dim": [64] * 7, "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 4,
        "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    },
    llm={
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 4096, "max_position_embeddings": 2048, "tie_word_embeddings": False,
    },
    windows=4,
    window_samples=16_000,
)  # fmt: skip


def real() -> Sizes:
    """The published sizes."""
    from real_sizes import CLIP, HUBERT, QWEN  # a neighbour of this script

    left_out = ("model_type", "architectures")
    speech = {name: value for name, value in HUBERT.items() if name not in left_out}
    llm = {name: value for name, value in QWEN.items() if name not in left_out}
    return Sizes("as published", {**CLIP["vision_config"]}, speech, llm)


def write_networks(sizes: Sizes, folder: Path, *, dtype: torch.dtype) -> dict[str, str]:
    """Folders of the three networks with random weights."""
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        HubertConfig,
        HubertModel,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    from affectgpt.llm.tiny import byte_tokenizer

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with device:  # drawn on the GPU where there is one: seven billion numbers take minutes on a CPU
        for name, network in (
            ("vision", CLIPVisionModelWithProjection._from_config(CLIPVisionConfig(**sizes.vision), dtype=dtype)),
            ("speech", HubertModel._from_config(HubertConfig(**sizes.speech), dtype=dtype)),
            ("llm", Qwen2ForCausalLM._from_config(Qwen2Config(**sizes.llm), dtype=dtype)),
        ):
            network.save_pretrained(folder / name)
            del network
    byte_tokenizer().save_pretrained(folder / "llm")
    return {name: str(folder / name) for name in ("vision", "speech", "llm")}


def build(folders: Mapping[str, str], *, dtype: str, rank: int, **changes: Any) -> AffectGPT:
    """The model of the published set-up, over these networks."""
    torch.manual_seed(0)
    model = AffectGPT.from_config(
        {
            "streams": {
                "face": {"encoder": {"name": "clip", "args": {"path": folders["vision"], "dtype": dtype}}},
                "audio": {
                    "encoder": {
                        "name": "hubert",
                        "args": {"path": folders["speech"], "dtype": dtype, "normalize": "clip"},
                    }
                },
            },
            "llm": {"name": "causal-lm", "args": {"path": folders["llm"], "dtype": dtype, "lora": {"rank": rank}}},
            "style": "brief",  # a token is a byte here; the published wording would be long, and hide the padding
            "max_tokens": 1024,
            "media": {"num_frames": 8, "frame_height": 224, "frame_width": 224},
            **changes,
        }
    )
    return model.train().to("cuda" if torch.cuda.is_available() else "cpu")
