"""Keys and values of a prompt and its answer, in tensors of fixed size: the cache that answers are written with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

PLAIN_LAYERS = {"full_attention"}
"""Kinds of layers whose whole memory is a key and a value for each token."""


class KeyValueCache:
    """What a transformers model calls a cache, without growing: tensors are made once, for the longest answer.

    ``B`` rows, ``H`` heads of keys and values, ``L`` tokens, ``D`` width of a head.

    Args:
        length: Tokens that a row holds at most, those of the prompt included.

    Attributes:
        filled: Tokens that every row holds; the caller raises it after each pass.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.filled = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._dealt: tuple[Tensor, Tensor, int] | None = None

    @contextmanager
    def dealing(self, rows: Tensor, columns: Tensor, count: int) -> Iterator[None]:
        """For as long as the context is open, take the tokens of many prompts that lie end to end in one row.

        They see each other alone, none that were there before; see ``packed_arguments``.

        Args:
            rows: int64 ``[T]``: the row that keeps each token.
            columns: int64 ``[T]``: its position there.
            count: Rows of the cache.
        """
        self._dealt = rows, columns, count
        try:
            yield
        finally:
            self._dealt = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the new tokens of a layer, ``[B, H, L', D]``; returns all so far, ``[B, H, filled + L', D]``."""
        if self._dealt is not None:
            rows, columns, count = self._dealt
            made = self._made_for(key_states, count), self._made_for(value_states, count)
            for kept, states in zip(made, (key_states, value_states), strict=True):
                kept[rows, :, columns] = states[0].transpose(0, 1)
            self._layers[layer_idx] = made
            return key_states, value_states
        if layer_idx not in self._layers:
            count = len(key_states)
            self._layers[layer_idx] = self._made_for(key_states, count), self._made_for(value_states, count)
        keys, values = self._layers[layer_idx]
        stop = self.filled + key_states.shape[2]
        keys[:, :, self.filled : stop] = key_states
        values[:, :, self.filled : stop] = value_states
        return keys[:, :, :stop], values[:, :, :stop]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that every row holds; models ask for it."""
        return self.filled

    def keep_rows(self, rows: Tensor) -> None:
        """Let go of all rows but these, int64 ``[B']``; a row may be kept several times."""
        for number, (keys, values) in self._layers.items():
            self._layers[number] = keys.index_select(0, rows), values.index_select(0, rows)

    def _made_for(self, states: Tensor, count: int) -> Tensor:
        # zeros: what is not filled yet is hidden by the mask, but NaN times zero is NaN
        return states.new_zeros(count, states.shape[1], self.length, states.shape[3])


def cache_argument(network: Any) -> str:
    """What a model's forward pass calls its cache: transformers changed the name in 5.2x."""
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"


def suits_cache(network: Any, length: int) -> bool:
    """Whether a model, by its configuration, remembers a key and a value for each of ``length`` tokens, and no more."""
    config = network.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if layers is not None:
        return {*layers} <= PLAIN_LAYERS
    return not window or length <= window


def causal_mask(keep: Tensor, queries: int) -> Tensor:
    """Which tokens the last ones see.

    Args:
        keep: Bool ``[B, L]``; ``True`` marks a real token.
        queries: How many of the last tokens ask, Q.

    Returns:
        Bool ``[B, 1, Q, L]``. Padding sees itself, since a token that sees nothing would give NaN.
    """
    length = keep.shape[1]
    positions = torch.arange(length, device=keep.device)
    asking = positions[length - queries :, None]
    seen = (positions <= asking) & keep[:, None, None, :]
    return seen | (positions == asking)
