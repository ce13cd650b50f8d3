"""Splits the layers of a transformers model over a group of ranks, by the plan that transformers has for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from affectgpt.deferred_weights import Entry
from affectgpt.errors import ConfigError, first_few
from affectgpt.llm.split_linear import SharedInput, TensorShare, split

BY_OUTPUTS, BY_INPUTS = "colwise", "rowwise"
WHOLE = ("replicated_with_grad_allreduce",)
"""What transformers calls a frozen layer that every rank has whole, between layers that are split."""

NO_SPLIT = "use the strategy fsdp2, which shares any model, or ddp"


def split_decoder(network: Any, share: TensorShare, entries: Sequence[Entry]) -> list[Entry]:
    """Keep this rank's share of the linear layers of a causal LM, in place; embeddings and norms stay whole.

    Args:
        network: The causal LM of transformers, with or without adapters in its layers.
        share: Which share.
        entries: What is yet to be read, see ``affectgpt.deferred_weights``.

    Returns:
        The same, with what this rank reads of each tensor.

    Raises:
        ConfigError: If transformers has no plan for the model, or the model does not divide by it.
    """
    planned = _planned(network)
    _check_sizes(network, share.size)
    cuts: dict[tuple[int, str], tuple[slice, ...]] = {}
    for siblings in _by_parent(planned).values():
        outputs = [layer for layer, kind in siblings if kind == BY_OUTPUTS]
        shared_input = SharedInput(share, len(outputs))
        for layer, kind in siblings:
            cut = split(layer, share, shared_input if kind == BY_OUTPUTS else None)
            cuts |= {(id(layer), name): where for name, where in cut.items()}
    return [replace(entry, cut=cuts.get((id(entry.owner), entry.attribute), entry.cut)) for entry in entries]


def _planned(network: Any) -> dict[str, tuple[nn.Linear, str]]:
    """Name of every layer to split, within the decoder, to the layer and how."""
    config, family = network.config.get_text_config(), type(network).__name__
    plan = getattr(config, "base_model_tp_plan", None)
    if not plan:
        raise ConfigError(
            f"transformers has no plan for the tensor parallelism of {family} (base_model_tp_plan); {NO_SPLIT}"
        )
    strange = [f"{name}: {kind}" for name, kind in plan.items() if kind not in (BY_OUTPUTS, BY_INPUTS, *WHOLE)]
    if strange:
        raise ConfigError(
            f"the plan of transformers for {family} splits layers in ways that are not known here "
            f"({first_few(strange, 3)}; known: {BY_OUTPUTS}, {BY_INPUTS}); {NO_SPLIT}"
        )
    kinds = {re.escape(name).replace(r"\*", r"\d+"): kind for name, kind in plan.items() if kind not in WHOLE}
    found = {}
    for name, module in network.get_decoder().named_modules():
        kind = next((kind for pattern, kind in kinds.items() if re.fullmatch(pattern, name)), None)
        if kind is None:
            continue
        layer = getattr(module, "base_layer", module)  # an adapter's layer has the base within it
        if layer is not module:
            _check_adapter(name, module)
        if type(layer) is not nn.Linear:
            raise ConfigError(f"{name} of {family} is a {type(layer).__name__}, which cannot be split; {NO_SPLIT}")
        found[name] = layer, kind
    if not found:
        raise ConfigError(f"no layer of {family} has a name of its plan ({first_few(plan, 3)}); {NO_SPLIT}")
    return found


def _check_adapter(name: str, module: nn.Module) -> None:
    from affectgpt.llm.lora_linear import LoraLinear

    if not isinstance(module, LoraLinear):
        raise ConfigError(
            f"the adapter of {name} reads the whole weight (DoRA) or is of another kind, which a share does not have; "
            f"use plain LoRA or rsLoRA, or {NO_SPLIT.removeprefix('use ')}"
        )


def _check_sizes(network: Any, size: int) -> None:
    config = network.config.get_text_config()
    counts = {
        name: getattr(config, name, None)
        for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size", "hidden_size")
    }
    wrong = [f"{name}={count}" for name, count in counts.items() if isinstance(count, int) and count % size]
    if wrong:
        raise ConfigError(
            f"{type(network).__name__} does not divide into {size} shares ({', '.join(wrong)}): give "
            f"tensor_parallel_size a number that divides all of these, or {NO_SPLIT}"
        )
    if getattr(config, "attention_dropout", 0.0):
        raise ConfigError(
            f"{type(network).__name__} drops attention weights (attention_dropout={config.attention_dropout}), which "
            f"ranks with different heads do not draw as one process does; {NO_SPLIT}"
        )


def _by_parent(planned: dict[str, tuple[nn.Linear, str]]) -> dict[str, list[tuple[nn.Linear, str]]]:
    groups: dict[str, list[tuple[nn.Linear, str]]] = {}
    for name, found in planned.items():
        groups.setdefault(name.rpartition(".")[0], []).append(found)
    return groups
