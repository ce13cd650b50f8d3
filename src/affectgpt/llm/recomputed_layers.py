"""Lets the layers of a language model forget their activations, and compute them again in the backward pass."""

from __future__ import annotations

from typing import Any


def recompute_layers(network: Any) -> None:
    """Recompute the activations of every layer while training.

    transformers does so in layers in training mode only. A network that it has just read is in evaluation mode, and a
    frozen one stays there, so that it drops nothing; the layer itself is set to training mode here, and what is in it
    keeps the mode that it has.

    Args:
        network: A causal LM of transformers.
    """
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for layer in network.get_decoder().layers:
        layer.training = True
