"""Runs a transformers model over packed rows, and refuses models that would let one sample see another.

transformers builds a mask for packed rows by itself only without an attention mask and without a cache; in any other
case samples see each other in silence. The mask is therefore always made here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.llm.packed_rows import block_mask, number_runs, positions_of

MASKED_BACKENDS = ("sdpa", "eager")
"""Attention that reads the mask given to it. Flash-attention takes borders in other forms, only for a single row."""

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that a mask can hold apart; a layer with a state hands it on over the border."""


def packed_arguments(network: Any, embeds: Tensor, runs: Tensor, positions: Tensor) -> dict[str, Any]:
    """Arguments of a transformers model for packed rows.

    Args:
        network: The causal LM of transformers.
        embeds: Float ``[B, L, E]``.
        runs: int64 ``[B, L]``, see ``number_runs``.
        positions: int64 ``[B, L]``, see ``positions_of``.
    """
    mask = block_mask(runs)
    if network.config._attn_implementation == "eager":
        # eager attention adds the mask to its scores: of truth values it would add ones and zeros, in silence
        mask = torch.zeros_like(mask, dtype=embeds.dtype).masked_fill(~mask, torch.finfo(embeds.dtype).min)
    return {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions, "use_cache": False}


def check_packing(network: Any, seen_to_pack: bool, positions: Tensor) -> None:
    """Make sure that a model keeps the samples of packed rows apart.

    Args:
        network: The causal LM of transformers.
        seen_to_pack: Whether the model was tried before; only the length is looked at then.
        positions: int64 ``[B, L]``, see ``positions_of``.

    Raises:
        ConfigError: If it does not, or nobody can tell.
    """
    config = network.config.get_text_config()
    name = type(network).__name__
    layers = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if window and (not layers or "sliding_attention" in layers) and positions.shape[1] > window:
        longest = int(positions.max()) + 1
        if longest > window:  # the mask made here stands for full attention
            raise ConfigError(
                f"{name} attends to {window} tokens at most, but a packed sample has {longest}; do not pack samples "
                "longer than that window"
            )
    if seen_to_pack:
        return
    backend = network.config._attn_implementation
    if backend not in MASKED_BACKENDS:
        raise ConfigError(
            f"packed rows need the attention backend {' or '.join(MASKED_BACKENDS)}, but {name} runs {backend!r}, "
            "which would let samples see each other; build the LLM with attention: sdpa, or do not pack"
        )
    if layers - KNOWN_LAYERS:
        raise ConfigError(
            f"{name} has layers of the kind {sorted(layers - KNOWN_LAYERS)[0]!r}, which carry a sample's content over "
            "to the next one in a packed row; do not pack with this model"
        )
    _try_packing(network, positions.device)


@torch.no_grad()
def _try_packing(network: Any, device: torch.device) -> None:
    """Pack two short samples, change the first, and look at the second; then look at the second alone."""
    weight = network.get_input_embeddings().weight
    if device.type == "meta":
        return
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 7, weight.shape[1], generator=generator).to(device, weight.dtype)
    rows[1, 3:] = rows[0, 3:]
    ids = torch.tensor([[1, 1, 1, 2, 2, 2, 2]], device=device).expand(2, -1)
    runs = number_runs(ids, ids > 0)
    training = network.training
    network.eval()
    try:
        packed = network(**packed_arguments(network, rows, runs, positions_of(runs))).logits[:, 3:].float()
        alone = network(inputs_embeds=rows[:1, 3:], use_cache=False).logits.float()
    except TypeError as error:
        raise ConfigError(f"{type(network).__name__} cannot run packed rows ({error}); do not pack") from error
    finally:
        network.train(training)
    scale = alone.abs().max()
    rounding = 1e-3 if weight.dtype == torch.float32 else 5e-2
    if (packed[0] - packed[1]).abs().max() > 1e-5 * scale or (packed[0] - alone[0]).abs().max() > rounding * scale:
        raise ConfigError(
            f"{type(network).__name__} does not keep the samples of a packed row apart: a sample's output depends on "
            "its neighbour or on its position in the row; do not pack with this model"
        )
