"""Kinds of adapters, full fine-tuning, and a base in 4 bits: built, stepped, stored and read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt.errors import ConfigError
from affectgpt.llm import CausalLM, TinyLM
from affectgpt.llm.lora import LoraSpec

LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lm")
    head = TinyLM(dim=64)
    for part in (head.network, head.tokenizer):
        part.save_pretrained(path)
    return path


def step(head: Any) -> tuple[set[str], float]:
    """Names of what a step changed, and how far the loss fell."""
    torch.manual_seed(1)
    embeds, keep = torch.randn(2, 9, 64), torch.ones(2, 9, dtype=torch.bool)
    labels = torch.randint(3, 259, (2, 9))
    trained = [p for p in head.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-2, weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in head.named_parameters()}
    losses = []
    for _ in range(8):
        loss = head(embeds, keep, labels).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    changed = {name for name, p in head.named_parameters() if not torch.equal(p, before[name])}
    return changed, losses[0] - losses[-1]


@pytest.mark.parametrize(
    ("args", "pieces"),
    [
        ({"lora": LORA}, {"lora_A", "lora_B"}),
        ({"lora": {**LORA, "rslora": True}}, {"lora_A", "lora_B"}),
        ({"lora": {**LORA, "dora": True}}, {"lora_A", "lora_B", "lora_magnitude_vector"}),
        ({"lora": None, "trainable": True}, {"weight"}),
    ],
)
def test_a_step_changes_what_is_meant_to_be_trained(folder: Path, args: dict[str, Any], pieces: set[str]) -> None:
    changed, fell = step(CausalLM(str(folder), **args))
    found = {piece for piece in ("lora_A", "lora_B", "lora_magnitude_vector") if any(piece in name for name in changed)}
    assert (found or {"weight"}) == pieces
    assert fell > 0.02
    if args["lora"] is not None:
        assert all("lora_" in name for name in changed)


def test_rslora_scales_by_the_root_of_the_rank(folder: Path) -> None:
    for rslora, scale in ((False, 2.0), (True, 4.0)):
        head = CausalLM(str(folder), lora={**LORA, "rslora": rslora})
        found = {
            m.scaling["default"]
            for m in head.network.modules()
            if isinstance(getattr(m, "scaling", 0), dict) and m.scaling
        }
        assert found == {scale}


def test_only_dora_needs_the_weights_before_it_begins() -> None:
    assert LoraSpec.of({"dora": True}).reads_weights
    assert not LoraSpec.of({"rslora": True}).reads_weights


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_a_base_in_4_bits_learns_and_stays_near_the_whole_one(folder: Path) -> None:
    whole, small = CausalLM(str(folder), lora=LORA).eval(), CausalLM(str(folder), lora=LORA, quantize="nf4").eval()
    layers = [whole.network, small.network]
    bytes_of = [sum(p.numel() * p.element_size() for n, p in net.named_parameters() if "mlp" in n and "lora" not in n)
                for net in layers]  # fmt: skip
    assert bytes_of[1] < bytes_of[0] / 7
    embeds, keep = torch.randn(2, 9, 64), torch.ones(2, 9, dtype=torch.bool)
    with torch.no_grad():
        expected, found = whole(embeds, keep).logits, small(embeds, keep).logits
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.2
    # a pass without gradients came before: bitsandbytes must not have moved the weights to where no gradient flows
    leaves = [embeds.clone().requires_grad_() for _ in range(2)]
    for head, leaf in zip((whole.train(), small.train()), leaves, strict=True):
        head(leaf, keep).logits.square().sum().backward()
    assert float((leaves[1].grad - leaves[0].grad).norm() / leaves[0].grad.norm()) < 0.3
    changed, fell = step(small)
    assert changed
    assert all("lora_" in name for name in changed)
    assert fell > 0.02


def test_what_cannot_be_in_4_bits_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="trainable"):
        CausalLM(str(folder), lora=None, trainable=True, quantize="nf4")
    with pytest.raises(ConfigError, match="nf4"):
        CausalLM(str(folder), quantize="4")
