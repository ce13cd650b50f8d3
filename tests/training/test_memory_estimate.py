"""The estimate of a step's memory against what is kept for the backward pass, and against plain sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from affectgpt import AffectGPT
from affectgpt.llm.lora import LoraSpec, add_lora
from affectgpt.llm.split_decoder import split_decoder
from affectgpt.llm.split_linear import TensorShare
from affectgpt.training.memory_estimate import activation_bytes, parameters_of, step_memory

CONFIG = Qwen2Config(
    vocab_size=300, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8,
    num_key_value_heads=2, attn_implementation="sdpa",
)  # fmt: skip
MODEL: dict[str, Any] = {
    "streams": {"frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}}},
    "llm": {"name": "tiny", "args": {"dim": 32}},
    "prefusion": "none",
    "style": "brief",
    "media": {"num_frames": 1, "frame_height": 16, "frame_width": 16},
}


def kept_bytes(network: Any, embeds: torch.Tensor) -> int:
    """Bytes of all that autograd keeps of one pass, weights aside."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=embeds.dtype == torch.bfloat16),
    ):
        base.model(inputs_embeds=embeds, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize(
    ("dtype", "dropout"), [("float32", 0.0), ("bfloat16", 0.0), ("float32", None), ("float32", 0.1), ("bfloat16", 0.1)]
)
def test_activations_are_within_15_percent_of_what_is_kept(dtype: str, dropout: float | None) -> None:
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    network = Qwen2ForCausalLM(CONFIG).to(kind)
    if dropout is not None:  # adapters
        network.requires_grad_(False)
        network = add_lora(network, LoraSpec(rank=4, dropout=dropout))
    network.train()
    embeds = torch.randn(2, 64, 128, dtype=kind).requires_grad_()
    estimate = 2 * 64 * activation_bytes(CONFIG, kind.itemsize, checkpointed=False, decision=2 if dropout else 0)
    assert estimate == pytest.approx(kept_bytes(network, embeds), rel=0.15)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_activations_of_split_layers_are_not_underestimated(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *args, **options: None)  # there is one rank
    torch.manual_seed(0)
    network = Qwen2ForCausalLM(CONFIG).requires_grad_(False)
    network = add_lora(network, LoraSpec(rank=4, dropout=dropout)).train()
    embeds = torch.randn(2, 64, 128).requires_grad_()
    whole = kept_bytes(network, embeds)
    split_decoder(network.get_base_model(), TensorShare(1, 2), [])
    found = kept_bytes(network, embeds)
    assert found < 0.75 * whole
    estimate = 2 * 64 * activation_bytes(CONFIG, 4, checkpointed=False, decision=2 if dropout else 0, split=2)
    # a frozen norm keeps less than is counted, which weighs more where the rest is divided
    assert found < estimate < 1.2 * found


def test_split_layers_are_estimated_alike_before_and_after() -> None:
    llm = {"name": "tiny", "args": {"dim": 32, "lora": {}, "trainable": False}}
    model = AffectGPT.from_config({**MODEL, "llm": llm})
    whole = step_memory(model, 2, 64, 16)
    before = step_memory(model, 2, 64, 16, split=2)
    model.llm.split(TensorShare(0, 2), [])
    assert step_memory(model, 2, 64, 16, split=2) == before
    layers = sum(4 * p.numel() for p in model.llm.shard_units()[0].parameters() if p.ndim == 2 and not p.requires_grad)
    assert whole.weights - before.weights == 2 * layers  # each of two layers has lost as much as it still has
    assert (before.gradients, before.logits) == (whole.gradients, whole.logits)


def test_checkpointing_keeps_the_input_of_each_layer_and_one_layer_whole() -> None:
    whole = activation_bytes(CONFIG, 4, checkpointed=False)
    assert activation_bytes(CONFIG, 4, checkpointed=True) == 4 * 128 * 4 + whole // 4
    assert activation_bytes(None, 4, checkpointed=False) == 0


def test_weights_gradients_and_moments_are_plain_sums() -> None:
    model = AffectGPT.from_config(MODEL)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    every = sum(p.numel() for p in model.parameters())
    assert 0 < trained < every
    alone = step_memory(model, 2, 100, 10)
    assert (alone.weights, alone.gradients, alone.moments) == (4 * every, 4 * trained, 8 * trained)
    assert (alone.gathered, alone.on_host) == (0, 0)
    assert alone.logits == 2 * 4 * 2 * 10 * 259
    assert alone.total == sum(alone.lines().values())
    shared = step_memory(model, 2, 100, 10, shares=4, offload=True)
    assert shared.weights == every
    assert shared.gathered > 0
    assert shared.on_host == shared.weights + shared.gradients + shared.moments
    assert shared.total == shared.gathered + shared.activations + shared.logits


def test_weights_are_counted_by_part() -> None:
    model = AffectGPT.from_config(MODEL)
    counts = parameters_of(model)
    assert {"encoders.frame", "poolings.frame", "projectors.frame", "llm"} <= counts.keys()
    assert counts["encoders.frame"][0] == 0
    assert sum(map(sum, counts.values())) == sum(p.numel() for p in model.parameters())
