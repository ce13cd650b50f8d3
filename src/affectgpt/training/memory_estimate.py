"""Estimates by formula what a training step takes of each device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

ADAM_MOMENTS = 2
"""AdamW keeps the means of the gradients and of their squares, each in the type of the weight."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes that one device needs for a training step.

    Attributes:
        weights: Weights, its share of them where ranks share the model.
        gradients: Gradients of what is trained.
        moments: What the optimiser keeps of each trained weight.
        gathered: Layers that are gathered from the ranks while they run; 0 where the model is not shared.
        activations: What the language model keeps of the forward pass for the backward pass.
        logits: Logits of the supervised tokens and their gradient, in float32.
        on_host: Of weights, gradients and moments, what lies in the host's memory.
    """

    weights: int
    gradients: int
    moments: int
    gathered: int
    activations: int
    logits: int
    on_host: int = 0

    @property
    def total(self) -> int:
        """All of it that lies on the device."""
        parts = (self.weights, self.gradients, self.moments, self.gathered, self.activations, self.logits)
        return sum(parts) - self.on_host

    def lines(self) -> dict[str, int]:
        """Name to bytes, largest concerns first."""
        named = {
            "weights": self.weights, "gradients": self.gradients, "moments": self.moments, "gathered": self.gathered,
            "activations": self.activations, "logits": self.logits,
        }  # fmt: skip
        return {name: size for name, size in named.items() if size}


def step_memory(
    model: Any,
    batch_size: int,
    tokens: int,
    answer_tokens: int,
    *,
    shares: int = 1,
    offload: bool = False,
    split: int = 1,
) -> StepMemory:
    """The estimate for one device.

    The activations are those of the language model alone: frozen encoders keep nothing, and poolings, pre-fusion and
    projectors see a few vectors a clip. What the allocator loses between blocks, and the context of the device (about
    0.5 GB), are not in it.

    Args:
        model: An ``AffectGPT``; its weights may be on the meta device.
        batch_size: Samples in a batch.
        tokens: Tokens of a sample, placeholders and answer included.
        answer_tokens: Of these, the supervised ones.
        shares: Ranks that share the weights (FSDP2).
        offload: Whether the shares lie in the host's memory.
        split: Ranks that split the layers of the language model (tensor parallelism), before or after they did.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = _bytes(model.parameters()) // shares
    if split > 1 and model.llm.tensor_share is None:
        layers = [p for unit in model.llm.shard_units() for p in unit.parameters()]
        linear = _bytes(p for p in layers if p.ndim == 2 and not p.requires_grad)
        weights -= linear - linear // split
    gradients = _bytes(trained) // shares
    moments = ADAM_MOMENTS * gradients
    units = [sum(p.numel() * p.element_size() for p in unit.parameters()) for unit in model.network.shard_units()]
    gathered = 2 * max(units, default=0) if shares > 1 else 0  # the layer that runs, and the next
    config = llm_config(model)
    activations = (
        batch_size
        * tokens
        * activation_bytes(
            config,
            _llm_bytes(model),
            checkpointed=_is_checkpointed(model),
            decision=_decision_bytes(model),
            split=split,
        )
    )
    logits = 2 * 4 * batch_size * answer_tokens * int(config.vocab_size) if config is not None else 0
    on_host = weights + gradients + moments if offload else 0
    return StepMemory(weights, gradients, moments, gathered, activations, logits, on_host)


def activation_bytes(config: Any, width: int, *, checkpointed: bool, decision: int = 0, split: int = 1) -> int:
    """Bytes that a Llama-like language model keeps for the backward pass, a token.

    A layer keeps, of its hidden width h, key-value width k and feed-forward width f:

    - of its two norms, what went in, in float32, and what came out, before and after scaling: 2 x (4 h + 2 h w);
    - the queries, keys and values, before and after rotation, and what attention gives: w (3 h + 4 k);
    - of the feed-forward, both branches, the activated one and their product: w (4 f);
    - where adapters drop inputs, for each input of the seven linear layers whether it is kept: 6 h + f decisions.

    Here w is the width of a number. Inputs of linear layers are among these, so adapters and trained weights keep no
    more, and what adapters have inside is small. Ranks that split the layers have the norms, and the decisions about
    whole inputs (5 h), each; the rest is divided. With gradient checkpointing a layer keeps its input alone, and one
    layer at a time keeps all.

    Args:
        config: Of the transformers model; ``None`` where the language model has none, which counts as nothing.
        width: Bytes of a number in its layers.
        checkpointed: Whether it runs with gradient checkpointing.
        decision: Bytes of a decision of dropout.
        split: Ranks that split the layers.
    """
    if config is None:
        return 0
    h, f, layers = int(config.hidden_size), int(config.intermediate_size), int(config.num_hidden_layers)
    heads = int(config.num_attention_heads)
    k = h * int(getattr(config, "num_key_value_heads", None) or heads) // heads
    divided = width * (3 * h + 4 * k + 4 * f) + decision * (h + f)
    layer = 2 * (4 * h + 2 * h * width) + decision * 5 * h + divided // split
    return width * h * layers + layer if checkpointed else layer * layers


def llm_config(model: Any) -> Any:
    """The configuration of the language model within a transformers head; ``None`` for any other head."""
    config: Any = getattr(getattr(model.llm, "network", None), "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return config if hasattr(config, "intermediate_size") else None


def parameters_of(model: Any) -> Mapping[str, tuple[int, int]]:
    """Trainable and frozen weights of each part of a model."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        start = ".".join(name.split(".")[: 2 if name.startswith(("encoders.", "poolings.", "projectors.")) else 1])
        counts.setdefault(start, [0, 0])[0 if parameter.requires_grad else 1] += parameter.numel()
    return {name: (trained, frozen) for name, (trained, frozen) in counts.items()}


def _bytes(parameters: Any) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _llm_bytes(model: Any) -> int:
    return max((p.element_size() for p in model.llm.parameters() if not p.requires_grad), default=4)


def _decision_bytes(model: Any) -> int:
    """What ``kept_inputs`` takes for an input; 0 where adapters drop nothing."""
    rates = [module.p for name, module in model.llm.named_modules() if "lora_dropout" in name and hasattr(module, "p")]
    return (1 if torch.cuda.is_available() else 2) if any(rates) else 0


def _is_checkpointed(model: Any) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in model.llm.modules())
