"""Gives every rank its share of a model's weights, as the strategy of its trainer asks for it."""

from __future__ import annotations

from typing import Any

from affectgpt.deferred_weights import Entry, read_deferred
from affectgpt.training.sharding import shard_model
from affectgpt.training.tensor_parallel import TensorParallelStrategy, split_model


def share_weights(model: Any, entries: list[Entry]) -> list[Entry]:
    """Shard a model (FSDP2) or split its LLM (tensor parallelism), once, and read what was left to be read.

    Args:
        model: An ``AffectGPT`` with its trainer.
        entries: Tensors that are yet to be read.

    Returns:
        What is left to be read: nothing.

    Raises:
        ConfigError: If the model cannot be shared as the strategy asks.
    """
    if model.device_mesh is not None:
        strategy = model.trainer.strategy
        if isinstance(strategy, TensorParallelStrategy):
            entries = split_model(model, entries)
        elif not model.network.is_sharded:
            model.network.is_sharded = True
            shard_model(model, model.network.shard_units(), strategy)
    return read_deferred(entries, model.device)
