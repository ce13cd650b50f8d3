"""Print the golden numbers of tiny released models: the file tests/official/golden_released.json.

    python tools/golden_released.py > tests/official/golden_released.json

Three tiny networks and a checkpoint in the released format are written with weights from whole-number arithmetic, read
with ``AffectGPT.from_official``, and run over fixed inputs. Run it again only when the numbers are meant to change, and
say why in the commit.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LAYOUTS = {"A": "multiface_audio_face_text", "B": "multiframe_audio_frame_text", "C": "frame"}
FUSIONS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "A": {"video": ("attention", 1), "audio": ("attention", 1), "multi": ("attention", 1), "image": ("mean", 1)},
    "B": {"video": ("qformer", 4), "audio": ("qformer", 2), "multi": ("qformer", 3), "image": ("token", 4)},
    "C": {"video": ("mean", 4), "audio": ("mean", 2), "multi": ("attention", 1), "image": ("mean", 1)},
}
VISION, HEARING, LANGUAGE, QUERY = 12, 16, 24, 16
"""Widths of the tiny networks."""


def fill(tensor: Tensor, seed: int) -> None:
    """Set a tensor to numbers that depend on nothing but its shape and the seed."""
    places = torch.arange(tensor.numel(), dtype=torch.int64)
    spread = ((places * 7919 + 104_729 * seed) % 1009).double() / 1009 - 0.5
    scale = 2 / max(tensor.shape[-1], 1) ** 0.5 if tensor.ndim > 1 else 0.2
    centre = 1.0 if tensor.ndim == 1 and seed % 2 else 0.0
    tensor.copy_((spread * scale + centre).reshape(tensor.shape).to(tensor.dtype))


@torch.no_grad()
def fill_module(module: nn.Module, seed: int) -> None:
    """Fill every parameter; vectors called ``weight`` are scales around 1."""
    for number, (name, parameter) in enumerate(sorted(module.named_parameters())):
        is_scale = parameter.ndim == 1 and name.endswith("weight")
        fill(parameter, 2 * (seed + number) + is_scale)


def write_networks(root: Path) -> dict[str, str]:
    """Folders of the three networks and of the BERT that gives the Q-Formers their sizes."""
    from transformers import BertConfig, CLIPConfig, CLIPModel, HubertConfig, HubertModel, Qwen2Config, Qwen2ForCausalLM

    from affectgpt.llm.tiny import byte_tokenizer

    small = {"num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"hidden_size": 16, "intermediate_size": 32, "image_size": 224, "patch_size": 56, **small}
    text = {"hidden_size": 8, "intermediate_size": 8, "vocab_size": 16, "bos_token_id": 0, "eos_token_id": 1, **small}
    clip = CLIPModel(CLIPConfig(projection_dim=VISION, vision_config=vision, text_config=text))
    hubert = HubertModel(
        HubertConfig(
            hidden_size=HEARING,
            num_hidden_layers=5,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(8, 8, 8),
            conv_kernel=(10, 8, 4),
            conv_stride=(10, 8, 4),
            num_feat_extract_layers=3,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            conv_bias=True,
        )
    )
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    language = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=LANGUAGE,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        bos_token_id=None,
        pad_token_id=None,
    )
    folders = {name: str(root / name) for name in ("clip", "hubert", "llm", "bert")}
    for number, (name, network) in enumerate(
        {"clip": clip, "hubert": hubert, "llm": Qwen2ForCausalLM(language)}.items()
    ):
        fill_module(network, 1000 * number)
        network.save_pretrained(folders[name])
    tokenizer.save_pretrained(folders["llm"])
    BertConfig(hidden_size=QUERY, num_attention_heads=2, intermediate_size=32).save_pretrained(folders["bert"])
    return folders


def write_checkpoint(path: Path, letter: str, folders: Mapping[str, str]) -> None:
    """A checkpoint in the released format."""
    from affectgpt import AffectGPT
    from affectgpt.checkpoints.official.released_config import model_arguments
    from affectgpt.checkpoints.official.released_file import OfficialFile, expected_tensors, position_ids

    switches: dict[str, Any] = {"llama_model": "Qwen25", "acoustic_encoder": "HUBERT_LARGE", "max_length": 1024}
    switches["visual_encoder"] = "CLIP_VIT_LARGE"
    shapes = {"x.lora_A.default.weight": torch.zeros(4, 1)}
    tables = {"video_frame_position_embedding": 32, "audio_position_embedding": 8, "multi_position_embedding": 264}
    shapes |= {f"{name}.weight": torch.zeros(size, 1) for name, size in tables.items()}
    for kind, (fusion, count) in FUSIONS[letter].items():
        switches |= {f"{kind}_fusion_type": fusion, f"num_{kind}_query_token": count}
        shapes[f"{kind}_query_tokens"] = torch.zeros(1, count, QUERY)
    file = OfficialFile(path, shapes, {"model": switches}, 0)
    with torch.device("meta"):
        complete = AffectGPT(**model_arguments(file, None, **folders))
    tensors = {name: torch.empty(shape) for name, (_, shape) in expected_tensors(complete).items()}
    for number, name in enumerate(sorted(tensors)):
        fill(tensors[name], 2 * number)
    torch.save({"model": tensors | position_ids(tensors), "config": {"model": switches}, "epoch": 0}, path)


def measure(letter: str, root: Path) -> dict[str, Any]:
    """Numbers of one tiny released model."""
    from affectgpt import AffectGPT
    from affectgpt.checkpoints.self_test import fixed_batch

    folders = write_networks(root / letter)
    write_checkpoint(root / f"{letter}.pth", letter, folders)
    torch.set_num_threads(1)
    model = AffectGPT.from_official(root / f"{letter}.pth", layout=LAYOUTS[letter], llm_dtype="float32", **folders)
    batch = fixed_batch(model)
    with torch.no_grad():
        hidden = {name: model.network.encode(name, batch).hidden for name in model.specs}
        tokens = model.network.slot_tokens(batch)
        logits = model(batch).logits[0, -1]
    loss = model(replace(batch, answers=("calm, but tired",))).loss
    loss.backward()
    squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
    return {
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "hidden": {name: _rounded(value.flatten()[:6]) for name, value in hidden.items()},
        "tokens": {name: _rounded(value.flatten()[:6]) for name, value in tokens.items()},
        "logits": _rounded(logits[::16]),
        "loss": round(loss.item(), 6),
        "gradient": round(float(torch.stack(squares).sum().sqrt()), 5),
        "answer": model.generate(batch, 12)[0],
    }


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.7g}") for value in values.tolist()]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        numbers = {letter: measure(letter, Path(folder)) for letter in LAYOUTS}
    json.dump(numbers, sys.stdout, indent=1, ensure_ascii=False)
    print()
