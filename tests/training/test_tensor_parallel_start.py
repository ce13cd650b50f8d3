"""What tensor parallelism refuses at the start of a run, and which ranks read which data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
import transformers
from lightning.pytorch.callbacks import EMAWeightAveraging

from affectgpt import AffectGPT
from affectgpt.errors import ConfigError
from affectgpt.lightning_privates import give_mesh
from affectgpt.llm import CausalLM
from affectgpt.llm.split_decoder import split_decoder
from affectgpt.llm.split_linear import SplitLinear, TensorShare
from affectgpt.training.compile_parts import CompileParts
from affectgpt.training.tensor_parallel import TensorParallelStrategy, split_model
from tensorparallel import save_lm
from tinytrain import SMALL

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 8}


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm")
    save_lm(folder, hidden_size=24, num_attention_heads=6, num_key_value_heads=2, intermediate_size=32)
    return folder


def test_layers_are_cut_by_the_plan(lm: Path) -> None:
    head = CausalLM(str(lm), {"rank": 2})
    whole = {name: p.detach().clone() for name, p in head.named_parameters()}
    assert head.split(TensorShare(1, 2), []) == []
    cut = {name for name, p in head.named_parameters() if p.shape != whole[name].shape}
    assert len(cut) == 2 * (7 + 5)  # of two layers, seven weights and the biases of those that are split by outputs
    attention, feed_forward = (getattr(head.shard_units()[0], name) for name in ("self_attn", "mlp"))
    base = attention.k_proj.base_layer
    start = "network.base_model.model.model.layers.0."
    assert isinstance(base, SplitLinear)
    assert torch.equal(base.weight, whole[start + "self_attn.k_proj.base_layer.weight"][4:])
    assert torch.equal(base.bias, whole[start + "self_attn.k_proj.base_layer.bias"][4:])
    down = feed_forward.down_proj.base_layer
    assert torch.equal(down.weight, whole[start + "mlp.down_proj.base_layer.weight"][:, 16:])
    assert (down.in_features, down.out_features) == (16, 24)


@pytest.mark.parametrize(
    ("size", "lora", "message"),
    [
        (3, {}, r"3 shares \(num_key_value_heads=2, intermediate_size=32\)"),
        (4, None, r"4 shares \(num_attention_heads=6, num_key_value_heads=2\)"),
        (2, {"dora": True}, "adapter of layers.0.self_attn.q_proj reads the whole weight"),
    ],
)
def test_what_does_not_divide_is_refused(lm: Path, size: int, lora: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CausalLM(str(lm), lora).split(TensorShare(0, size), [])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2)), "no plan"),
        (
            lambda: transformers.Phi3ForCausalLM(transformers.Phi3Config(**SIZES, pad_token_id=0)),
            "layers.*self_attn.qkv_proj: colwise_gather_output",
        ),
        (
            lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, attention_dropout=0.1)),
            "attention_dropout=0.1",
        ),
    ],
)
def test_models_of_other_kinds_are_refused(network: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_decoder(network(), TensorShare(0, 2), [])


def test_weights_in_other_forms_are_refused(lm: Path) -> None:
    head = CausalLM(str(lm), None)

    class Packed(torch.nn.Linear):
        """Stands for a layer in 4 bits."""

    head.shard_units()[1].mlp.up_proj.__class__ = Packed
    with pytest.raises(ConfigError, match=r"layers\.1\.mlp\.up_proj of LlamaForCausalLM is a Packed"):
        head.split(TensorShare(0, 2), [])
    assert not any(isinstance(module, SplitLinear) for module in head.modules())


def test_a_group_is_of_two_ranks_or_more() -> None:
    with pytest.raises(ConfigError, match="tensor_parallel_size=1"):
        TensorParallelStrategy(1)


def test_the_ranks_must_divide_into_groups() -> None:
    trainer = lightning.Trainer(accelerator="cpu", devices=3, strategy="tensor_parallel", logger=False, barebones=True)
    with pytest.raises(ConfigError, match="3 ranks do not divide into groups of tensor_parallel_size=2"):
        trainer.strategy.setup_environment()


def test_a_group_reads_one_share_of_the_data() -> None:
    trainer = lightning.Trainer(accelerator="cpu", devices=4, strategy="tensor_parallel", logger=False, barebones=True)
    strategy = trainer.strategy
    assert isinstance(strategy, TensorParallelStrategy)
    strategy.num_nodes = 2
    found = []
    for rank in range(8):
        strategy.cluster_environment = SimpleNamespace(global_rank=lambda number=rank: number)
        found.append(strategy.distributed_sampler_kwargs)
    assert [one["rank"] for one in found] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {one["num_replicas"] for one in found} == {4}


@pytest.mark.parametrize(
    ("llm", "change", "message"),
    [
        ({"trainable": True}, None, r"llm\.network\S+ is trained \(trainable: true\)"),
        ({}, "objective", "the objective SimpleNamespace was not tried"),
        ({}, "compiled", "leave 'llm' out of its parts"),
        ({}, "averaged", "WeightAverage"),
        ({}, "trained", "a checkpoint would hold llm.network.*affectgpt export"),
        (None, None, "a checkpoint would hold llm.network.*affectgpt export"),
    ],
)
def test_runs_that_cannot_be_split_are_refused(
    lm: Path, llm: dict[str, Any] | None, change: str | None, message: str
) -> None:
    path = {"path": str(lm), "lora": {"rank": 2}}
    head = {"name": "causal-lm", "args": {**path, **(llm or {})}}
    if llm is None:
        head = {"name": "tiny", "args": {"dim": 16, "lora": {"rank": 2}, "trainable": False}}
    model = AffectGPT.from_config({**SMALL, "llm": head})
    if change == "trained":
        model.llm.keep_weights()
    if change == "objective":
        model.steps.objective = SimpleNamespace()
    callbacks = [CompileParts(["fusion"]), *([CompileParts()] if change == "compiled" else [])]
    trainer = lightning.Trainer(accelerator="cpu", logger=False, barebones=True)
    trainer.callbacks = [*callbacks, EMAWeightAveraging()] if change == "averaged" else callbacks
    model.trainer = trainer
    mesh = SimpleNamespace(get_local_rank=lambda: 0, size=lambda: 2, get_group=lambda: None)
    give_mesh(model, {"tensor_parallel": mesh})
    with pytest.raises(ConfigError, match=message):
        split_model(model, [])
