"""Runs a transformers model over packed rows, and refuses models that would let one sample see another.

transformers builds a mask for packed rows by itself only without an attention mask and without a cache; in any other
case samples see each other in silence. So the borders are always given here: as lengths to flash-attention and to the
SDPA of this file, which never looks across them, and as a mask to the others.

``B`` rows, ``L`` tokens a row, ``E`` width of the embeddings, ``H`` heads, ``D`` width of a head.
"""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import ConfigError
from affectgpt.llm.packed_rows import block_mask, lengths_of, number_runs, positions_of
from affectgpt.part import in_eval_mode

SDPA = "affectgpt_sdpa"
"""SDPA of transformers, and for packed rows a kernel that goes by lengths; see ``use_lengths``."""

BY_LENGTH = (SDPA, "flash_attention_2", "flash_attention_3", "flash_attention_4")
BY_MASK = ("sdpa", "eager", "flex_attention")
"""Backends that are told the borders of samples as lengths, and as a mask."""

SHORT = 512
"""Samples shorter than this learn on a CPU with attention in float32: in bfloat16 torch's kernel takes twice to three
times as long for its backward pass (measured with 4 heads of 64: 2.6 ms in place of 1.1 for 150 tokens)."""

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that keep samples apart when told so; a layer with a state hands it on over the border."""


def use_lengths(network: Any) -> None:
    """Have a model with SDPA run packed rows by lengths, without a mask of the row's length squared.

    Its other passes are those of SDPA. The choice is made once and for all: what gradient checkpointing computes again
    in the backward pass must run with the same attention.
    """
    if network.config._attn_implementation == "sdpa":
        network.config._attn_implementation = registered_sdpa()


def registered_sdpa() -> str:
    """The name by which transformers finds the attention of this file."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(SDPA, _sdpa)
    AttentionMaskInterface.register(SDPA, sdpa_mask)
    return SDPA


def packed_arguments(network: Any, embeds: Tensor, runs: Tensor, positions: Tensor) -> dict[str, Any]:
    """Arguments of a transformers model for packed rows.

    A backend that goes by lengths is given all rows as one, ``[1, B * L]``.

    Args:
        network: The causal LM of transformers.
        embeds: Float ``[B, L, E]``.
        runs: int64 ``[B, L]``, see ``number_runs``; on the CPU, the host need not wait for the device.
        positions: int64 ``[B, L]``, see ``positions_of``, on the device of ``embeds``.
    """
    backend = network.config._attn_implementation
    if backend in BY_LENGTH:
        lengths = lengths_of(runs)
        borders = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        borders = borders.to(embeds.device, non_blocking=True)
        given: dict[str, Any] = {
            "inputs_embeds": embeds.flatten(0, 1)[None],
            "position_ids": positions.flatten()[None],
            "cu_seq_lens_q": borders,
            "cu_seq_lens_k": borders,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
            "use_cache": False,
        }
        if backend == SDPA:
            given["attention_mask"] = _no_mask(embeds.device)
            if not _runs_varlen(embeds.device, embeds.dtype):
                given["sample_lengths"] = tuple(lengths)
        return given
    runs = runs.to(embeds.device, non_blocking=True)
    is_flex = backend == "flex_attention"
    mask: Any = _flex_mask(runs) if is_flex else readable_mask(network, block_mask(runs), embeds.dtype)
    return {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions, "use_cache": False}


def padded_mask(network: Any, keep: Tensor, device: torch.device) -> Tensor:
    """The mask that a transformers model is given for rows of one sample each, whose padding nobody reads.

    Args:
        network: The causal LM of transformers.
        keep: Bool ``[B, L]``; ``True`` marks a real token. Where it is on the CPU, the host waits for no device:
            transformers asks whether a mask hides anything, and whether positions begin anew.
        device: Where the rows are.
    """
    if (
        network.config._attn_implementation == SDPA
        and keep.device.type == "cpu"
        and bool((keep[:, 1:] <= keep[:, :-1]).all())
    ):
        return _no_mask(device)  # what is real stands before the padding, and looks back only
    return keep.to(device, torch.long, non_blocking=True)


def readable_mask(network: Any, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask in the form that the attention of a model reads.

    Args:
        network: The causal LM of transformers.
        mask: Bool ``[B, 1, Q, L]``; ``True`` where a token is seen.
        dtype: Of the queries.
    """
    if network.config._attn_implementation != "eager":
        return mask
    # eager attention adds the mask to its scores: a bool mask would silently add ones and zeros
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def check_packing(network: Any, seen_to_pack: bool, lengths: list[int], device: torch.device) -> None:
    """Check that a model keeps the samples of packed rows apart.

    Args:
        network: The causal LM of transformers.
        seen_to_pack: Whether the model was tried before; only the lengths are looked at then.
        lengths: Tokens of each sample.
        device: Where the rows are.

    Raises:
        ConfigError: If it does not, or if that cannot be determined.
    """
    config = network.config.get_text_config()
    name = type(network).__name__
    layers = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if window and (not layers or "sliding_attention" in layers) and max(lengths) > window:
        raise ConfigError(  # what is made here stands for full attention
            f"{name} attends to {window} tokens at most, but a packed sample has {max(lengths)}; pack only samples "
            "that fit into this window"
        )
    if seen_to_pack:
        return
    backend = network.config._attn_implementation
    if backend not in (*BY_LENGTH, *BY_MASK):
        raise ConfigError(
            f"{name} runs the attention backend {backend!r}, of which it is not known how to tell it the borders of "
            "packed samples; build the LLM with attention: sdpa, or do not pack"
        )
    if layers - KNOWN_LAYERS:
        raise ConfigError(
            f"{name} has layers of the kind {sorted(layers - KNOWN_LAYERS)[0]!r}, which carry a sample's content over "
            "to the next one in a packed row; do not pack with this model"
        )
    _try_packing(network, device)


@torch.no_grad()
def _try_packing(network: Any, device: torch.device) -> None:
    """Pack two short samples; the second one's output must not change with the first, nor without it."""
    weight = network.get_input_embeddings().weight
    if device.type == "meta":
        return
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 7, weight.shape[1], generator=generator).to(device, weight.dtype)
    rows[1, 3:] = rows[0, 3:]
    ids = torch.tensor([[1, 1, 1, 2, 2, 2, 2]]).expand(2, -1)
    runs = number_runs(ids, ids > 0)
    try:
        with in_eval_mode(network):
            found = network(**packed_arguments(network, rows, runs, positions_of(runs).to(device))).logits
            packed = found.reshape(2, 7, -1)[:, 3:].float()
            alone = network(inputs_embeds=rows[:1, 3:], use_cache=False).logits.float()
    except (TypeError, ImportError) as error:
        raise ConfigError(f"{type(network).__name__} cannot run packed rows ({error}); do not pack") from error
    scale = alone.abs().max()
    rounding = 1e-3 if weight.dtype == torch.float32 else 5e-2
    if (packed[0] - packed[1]).abs().max() > 1e-5 * scale or (packed[0] - alone[0]).abs().max() > rounding * scale:
        raise ConfigError(
            f"{type(network).__name__} does not keep the samples of a packed row apart: a sample's output depends on "
            "its neighbour or on its position in the row; do not pack with this model"
        )


def _sdpa(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of transformers' form: ``[B, H, L, D]`` to ``[B, L, H, D]``; by lengths where there are any."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    borders = options.get("cu_seq_lens_q")
    repeats = query.shape[1] // key.shape[1]
    if borders is None and repeats > 1 and query.shape[2] == 1 and not torch.is_grad_enabled():
        # a token that is written: heads that share their keys ask as several tokens of one head, which see the same;
        # transformers would copy the keys and values of the whole answer for every head
        rows, heads, _, width = query.shape
        asking = query.view(rows, heads // repeats, repeats, width)
        answered = F.scaled_dot_product_attention(asking, key, value, attention_mask, scale=scaling)
        return answered.reshape(rows, 1, heads, width), None
    if borders is None:
        attention_mask = None if attention_mask is not None and attention_mask.numel() == 1 else attention_mask
        options = {"dropout": dropout, "scaling": scaling, **options}
        found: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found
    if "sample_lengths" not in options:
        from torch.nn.attention.varlen import varlen_attn

        longest = options["max_length_q"]
        q, k, v = (
            x[0].repeat_interleave(r, 0).transpose(0, 1) for x, r in ((query, 1), (key, repeats), (value, repeats))
        )
        causal: dict[str, Any] = {"window_size": (-1, 0)}
        if "is_causal" in inspect.signature(varlen_attn).parameters:  # its name in earlier releases of torch
            causal = {"is_causal": True}
        out: Any = varlen_attn(q, k, v, borders, borders, longest, longest, scale=scaling, **causal)
        return out[None], None
    lengths = options["sample_lengths"]
    cast = query.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if cast else query.dtype
    plain: AbstractContextManager[Any] = nullcontext()
    if (
        query.device.type == "cpu"
        and dtype == torch.bfloat16
        and torch.is_grad_enabled()
        and query.requires_grad
        and max(lengths) < SHORT
    ):
        query, key, value = query.float(), key.float(), value.float()
        plain = torch.autocast("cpu", enabled=False)  # which would take the float32 back
    samples = zip(*(states.split(lengths, 2) for states in (query, key, value)), strict=True)
    with plain:
        attended = [
            F.scaled_dot_product_attention(
                q, k, v, None, dropout, is_causal=True, scale=scaling, enable_gqa=repeats > 1
            )
            for q, k, v in samples
        ]
    return torch.cat(attended, 2).transpose(1, 2).contiguous().to(dtype), None


def _no_mask(device: torch.device) -> Tensor:
    """What keeps transformers from making a mask; the SDPA of this file takes it for none."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def _runs_varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether attention will read half precision on a GPU, for which torch has a kernel by lengths."""
    if device.type != "cuda":
        return False
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
    return dtype in (torch.float16, torch.bfloat16)


def _flex_mask(runs: Tensor) -> Any:
    """The block mask of flex-attention, which takes a function instead of truth values."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(row: Tensor, _head: Tensor, asking: Tensor, asked: Tensor) -> Tensor:
        return (runs[row, asking] == runs[row, asked]) & (asking >= asked)

    rows, length = runs.shape
    return create_block_mask(sees, rows, None, length, length, device=str(runs.device))
