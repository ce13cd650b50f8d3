"""A causal LM in files whose layers divide, and runs in which ranks hold it together."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

import dealing
from affectgpt import AffectGPT
from affectgpt.deferred_weights import deferring
from affectgpt.llm import AnswerSampling
from affectgpt.llm.tiny import byte_tokenizer
from affectgpt.part import in_eval_mode
from tinytrain import place

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 4,
}  # fmt: skip


def save_lm(folder: Path, **sizes: Any) -> None:
    """Write a Llama with shared keys and values and with all its biases, none of them 0."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), attention_bias=True, mlp_bias=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=False, **{**SIZES, **sizes},
    )  # fmt: skip
    network = LlamaForCausalLM(config)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def over(folder: Path, lora: Mapping[str, Any] | None = None, *, packing: bool = False, **args: Any) -> dict[str, Any]:
    """The configuration of a model with adapters over a stored language model."""
    adapters = {"rank": 4, "dropout": 0.0, **(lora or {})}
    llm = {"name": "causal-lm", "args": {"path": str(folder), "lora": adapters, **args}}
    return {**dealing.CONFIG, "llm": llm, "packing": packing}


def written(model: AffectGPT) -> list[list[str]]:
    """Answers of a trained model: greedy ones, drawn ones, and those of the loop of transformers."""
    batch = dealing.make_batch([0, 1, 2])
    drawn = AnswerSampling(temperature=1.0, num_answers=2, seed=5)
    found = [model.generate(batch, 6), model.generate(batch, 6, sampling=drawn)]
    model.llm._writer._works = False
    found.append(model.generate(batch, 6))
    model.llm._writer._works = True
    return found


def layer_weights(model: AffectGPT) -> int:
    """Weights of the linear layers of the language model that this process holds, adapters aside."""
    named = [pair for unit in model.llm.shard_units() for pair in unit.named_parameters()]
    return sum(p.numel() for name, p in named if p.ndim == 2 and ".lora_" not in name)


def built(config: Mapping[str, Any], *, shapes_first: bool) -> AffectGPT:
    """A model whose trained weights follow from their names; building draws other numbers where shapes come first."""
    torch.manual_seed(0)  # encoders without files are drawn before the language model
    with deferring() if shapes_first else nullcontext():
        model = AffectGPT.from_config(dict(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def work(cases: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Run cases one after the other on every rank; each rank writes down what came."""
    found = {}
    for name, case in cases.items():
        model = built(case["config"], shapes_first=case.get("tensor", 1) > 1)
        record = dealing.run(**case, model=model)
        trained = torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])
        with in_eval_mode(model), torch.no_grad():
            loss = float(model(dealing.make_batch([3, 4])).loss)
        texts = written(model) if name == "plain" else []
        found[name] = {**record, "trained": trained, "weights": layer_weights(model), "loss": loss, "texts": texts}
    torch.save(found, out.with_name(f"{out.name}-{place()[0]}.pt"))
