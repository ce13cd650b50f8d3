"""Puts feature tokens into the placeholders of a prompt, after comparing their numbers.

``B`` batch, ``L`` tokens of the prompt, ``K`` tokens of a slot, ``E`` width of the LLM, ``P`` samples with the slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from affectgpt.errors import AlignmentError


def check_slots(
    slot_index: Tensor,
    slots: Sequence[str],
    num_tokens: Mapping[str, int],
    present: Mapping[str, Sequence[bool]],
    keys: Sequence[str],
) -> None:
    """Compare the number of placeholders of every sample with the number of tokens that are to fill them.

    Args:
        slot_index: int64 ``[B, L]`` on the CPU: 0 for text, ``1 + i`` for a placeholder of ``slots[i]``.
        slots: Names of the slots.
        num_tokens: Slot name to the number of tokens that a sample brings for it.
        present: Slot name to one bool per sample: whether it brings them.
        keys: Names of the samples.

    Raises:
        AlignmentError: If the numbers differ in any sample: scattering would then put one sample's features into
            another sample's prompt.
    """
    for i, name in enumerate(slots):
        found_B = (slot_index == i + 1).sum(1)
        expected_B = torch.tensor([num_tokens[name] if there else 0 for there in present[name]])
        wrong = (found_B != expected_B).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise AlignmentError(
                f"sample {keys[row]!r}: the prompt has {int(found_B[row])} placeholders for slot {name!r}, but the "
                f"sample has {int(expected_B[row])} feature tokens to fill them ({len(wrong)} of {len(keys)} samples "
                "are affected); the prompt must be rendered with the num_tokens of the pooling or pre-fusion in use"
            )


def scatter_slots(
    embeds: Tensor,
    slot_index: Tensor,
    slots: Sequence[str],
    tokens: Mapping[str, Tensor],
    present: Mapping[str, Sequence[bool]],
) -> Tensor:
    """Put the feature tokens at their positions; call ``check_slots`` first.

    Args:
        embeds: Float ``[B, L, E]``, or ``[1, L, E]`` where the prompts lie in one row, end to end.
        slot_index: int64 of the same rows, best on the CPU, so that nothing waits for the device: 0 for text,
            ``1 + i`` for a placeholder of ``slots[i]``.
        slots: Names of the slots.
        tokens: Slot name to float ``[B, K, E]``.
        present: Slot name to one bool per sample: whether its tokens are used.

    Returns:
        Float, of the shape of ``embeds``; gradients flow into ``tokens``.
    """
    flat = embeds.flatten(0, 1)
    index = slot_index.flatten()
    for i, name in enumerate(slots):
        rows = torch.tensor([row for row, there in enumerate(present[name]) if there], dtype=torch.long)
        values_PKE = tokens[name].index_select(0, sent(rows, flat.device)).to(flat.dtype)
        positions = (index == i + 1).nonzero().squeeze(1)
        flat = flat.index_copy(0, sent(positions, flat.device), values_PKE.flatten(0, 1))
    return flat.view_as(embeds)


def sent(value: Tensor, device: torch.device) -> Tensor:
    """A small tensor on a device; the host does not wait for the copy from the CPU."""
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=value.device.type == "cpu")
