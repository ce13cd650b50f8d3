"""Small arguments for every built-in part, the tiny weights they read, and inputs for them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torchaudio
import transformers

from affectgpt.encoders import Encoder
from affectgpt.llm import TinyLM
from affectgpt.registry import ENCODERS, LLMS, POOLINGS, PREFUSIONS, PROJECTORS, Registry, Spec
from affectgpt.types import Features, Modality

SMALL_QFORMER = {"num_tokens": 3, "hidden_dim": 16, "num_heads": 2}

# Registered name (or prefix and a name) to arguments; a string "@x" is the tiny folder or bundle x made below.
ENCODER_CASES: dict[str, dict[str, Any]] = {
    "clip": {"path": "@clip"},
    "clip-vit-large-14.openai": {"path": "@clip"},
    "hubert": {"path": "@hubert"},
    "wav2vec2": {"path": "@wav2vec2", "layers": 2},
    "wavlm": {"path": "@wavlm", "layers": 3},
    "data2vec-audio": {"path": "@data2vec-audio"},
    "hubert-large.chinese": {"path": "@hubert"},
    "precomputed": {"dim": 8},
    "tiny-vision": {"size": 32, "dim": 12},
    "tiny-audio": {"dim": 12, "num_mels": 16},
    "timm/test_vit": {},
    "torchaudio/TINY": {"weights": "random"},
}
POOLING_CASES: dict[str, dict[str, Any]] = {
    "mean": {"in_dim": 6, "num_tokens": 2},
    "attention": {"in_dim": 6, "num_tokens": 2},
    "attention-softmax": {"in_dim": 6},
    "qformer": {"in_dim": 6, **SMALL_QFORMER},
}
PREFUSION_CASES: dict[str, dict[str, Any]] = {
    "none": {"in_dims": [6, 4]},
    "attention": {"in_dims": [6, 4], "num_tokens": 2},
    "attention-softmax": {"in_dims": [6, 4]},
    "qformer": {"in_dims": [6, 4], **SMALL_QFORMER},
    "gated": {"in_dims": [6, 4], "num_tokens": 2},
    "cross-attention": {"in_dims": [6, 4], "hidden_dim": 8, "num_heads": 2, "num_layers": 2},
    "experts": {"in_dims": [6, 4]},
}
PROJECTOR_CASES: dict[str, dict[str, Any]] = {
    "linear": {"in_dim": 6, "out_dim": 10, "hidden_dim": 5},
}
LLM_CASES: dict[str, dict[str, Any]] = {
    "causal-lm": {"path": "@lm", "lora": None, "trainable": True},
    "smollm2-135m-instruct": {"lora": None, "trainable": True},
    "tiny": {"dim": 16, "layers": 1, "heads": 2},
}
TABLES: list[tuple[Registry[Any], dict[str, dict[str, Any]]]] = [
    (ENCODERS, ENCODER_CASES),
    (POOLINGS, POOLING_CASES),
    (PREFUSIONS, PREFUSION_CASES),
    (PROJECTORS, PROJECTOR_CASES),
    (LLMS, LLM_CASES),
]


def tiny_bundle() -> Any:
    """A wav2vec 2.0 bundle of torchaudio, small enough for random weights."""
    params = {
        **torchaudio.pipelines.WAV2VEC2_BASE._params,
        "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 4)],
        "encoder_embed_dim": 16,
        "encoder_pos_conv_kernel": 16,
        "encoder_pos_conv_groups": 2,
        "encoder_num_layers": 4,
        "encoder_num_heads": 2,
        "encoder_ff_interm_features": 32,
    }
    return torchaudio.pipelines.Wav2Vec2Bundle("tiny.pth", params, 16_000, False, "Wav2Vec2")


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Local folders of tiny networks with random weights, and a tiny torchaudio bundle."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    speech = {
        **size,
        "conv_dim": [8, 8],
        "conv_kernel": [10, 8],
        "conv_stride": [5, 4],
        "num_conv_pos_embedding_groups": 2,
    }
    tower = {**size, "image_size": 32, "patch_size": 16}
    text = {**size, "vocab_size": 32, "max_position_embeddings": 8}
    whole_clip = transformers.CLIPConfig(vision_config=tower, text_config=text, projection_dim=12)
    networks = {
        "clip": transformers.CLIPModel(whole_clip),
        "hubert": transformers.HubertModel(
            transformers.HubertConfig(**speech, feat_extract_norm="layer", do_stable_layer_norm=True)
        ),
        "wav2vec2": transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**speech)),
        "wavlm": transformers.WavLMModel(transformers.WavLMConfig(**speech)),
        "data2vec-audio": transformers.Data2VecAudioModel(
            transformers.Data2VecAudioConfig(**speech, num_conv_pos_embeddings=2, conv_pos_kernel_size=5)
        ),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in networks}
    for name, network in networks.items():
        network.save_pretrained(folders[name])
    folders["lm"] = tmp_path_factory.mktemp("lm")
    head = TinyLM(dim=16, layers=1, heads=2)
    head.network.save_pretrained(folders["lm"])
    head.tokenizer.save_pretrained(folders["lm"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchaudio.pipelines, "TINY", tiny_bundle(), raising=False)
        # the real weights have a test of their own
        patch.setattr("affectgpt.llm.smollm2.smollm2_folder", lambda: folders["lm"])
        yield {name: str(folder) for name, folder in folders.items()}


@pytest.fixture
def spec_of(tiny_weights: dict[str, str]) -> Callable[[Registry[Any], str], Spec]:
    def spec(registry: Registry[Any], name: str) -> Spec:
        args = next(cases for table, cases in TABLES if table is registry)[name]
        filled = {key: tiny_weights[v[1:]] if str(v).startswith("@") else v for key, v in args.items()}
        return Spec(name, copy.deepcopy(filled))

    return spec


@pytest.fixture
def build(spec_of: Callable[[Registry[Any], str], Spec]) -> Callable[[Registry[Any], str], Any]:
    def made(registry: Registry[Any], name: str) -> Any:
        torch.manual_seed(1)
        part = registry.build(spec_of(registry, name)).eval()
        with torch.no_grad():  # some weights start at zero, where a mistake could hide
            for weight in part.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        return part

    return made


def media_for(encoder: Encoder, batch: int = 3, steps: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keep = torch.ones(batch, steps, dtype=torch.bool)
    keep[-1, -1] = False
    if encoder.modality == Modality.VISUAL:
        return torch.randint(0, 256, (batch, steps, 3, 40, 36), dtype=torch.uint8, generator=generator), keep
    return 0.1 * torch.randn(batch, steps, 4000, generator=generator), keep


def streams_for(part: Any, batch: int = 3, seed: int = 0) -> list[Features]:
    generator = torch.Generator().manual_seed(seed)
    dims = part.in_dims if hasattr(part, "in_dims") else (part.in_dim,)
    made = []
    for index, dim in enumerate(dims):
        keep = torch.ones(batch, 4 + index, dtype=torch.bool)
        keep[0, 2:] = False
        made.append(Features(torch.randn(batch, 4 + index, dim, generator=generator), keep))
    return made
