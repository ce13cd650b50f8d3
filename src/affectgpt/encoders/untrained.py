"""Warns when a frozen encoder is used with its initial random weights."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from affectgpt.encoders.base import Encoder

log = logging.getLogger(__name__)

NUM_WATCHED = 16
"""Number of values of a weight to remember; loading and training change them."""


def watch_random_weights(encoder: Encoder, name: str) -> None:
    """Warn at the first frozen use of an encoder if its weights are still those of its constructor.

    There is no warning for an encoder that is or was trained, or whose weights were loaded.

    Args:
        encoder: An encoder that was just built, with random weights.
        name: Its name in the warning.
    """
    weight = next((p for p in encoder.parameters() if p.ndim > 1 and not p.is_meta), None)
    if weight is not None:
        watch = _Watch(name, _first_numbers(weight))
        watch.handle = encoder.register_forward_pre_hook(watch)


class _Watch:
    """A forward pre-hook; a class, so that the encoder can be copied and pickled."""

    def __init__(self, name: str, drawn: Tensor) -> None:
        self.name = name
        self.drawn = drawn
        self.handle: Any = None

    def __call__(self, encoder: nn.Module, _args: Any) -> None:
        if torch.compiler.is_compiling() or self.handle is None:
            return
        assert isinstance(encoder, Encoder)
        if not encoder.frozen:
            return
        self.handle.remove()
        self.handle = None
        weight = next(p for p in encoder.parameters() if p.ndim > 1)
        if isinstance(weight, DTensor) or weight.is_meta:
            return
        if torch.equal(_first_numbers(weight), self.drawn.to(weight.dtype).float()):
            log.warning(
                "THE ENCODER %r IS FROZEN WITH RANDOM WEIGHTS: its features carry almost no information, and it is "
                "not trained. Name its weights, load a checkpoint, or set trainable: true for its stream",
                self.name,
            )


def _first_numbers(weight: Tensor) -> Tensor:
    return weight.detach().flatten()[:NUM_WATCHED].to("cpu", torch.float32, copy=True)
