"""Numbers that the ranks of a run exchange in a step of learning from rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from affectgpt.training.step_loss import DataRanks


def over_ranks(
    ranks: DataRanks, values: Sequence[float], device: torch.device, *, highest: bool = False
) -> list[float]:
    """Sums over the ranks; every rank must call it.

    Args:
        ranks: Those that learn from different data.
        values: This rank's numbers, equally many on each.
        device: Where the numbers meet.
        highest: Whether the highest of each is wanted in place of the sum.
    """
    if ranks.number == 1:
        return [float(value) for value in values]
    together = torch.tensor(values, dtype=torch.float32, device=device)
    kind = torch.distributed.ReduceOp.MAX if highest else torch.distributed.ReduceOp.SUM
    torch.distributed.all_reduce(together, op=kind, group=ranks.group)
    found: list[float] = together.tolist()
    return found


def gathered(ranks: DataRanks, rows: Sequence[Any]) -> list[Any]:
    """The rows of all ranks, in the order of the ranks; every rank must call it."""
    if ranks.number == 1:
        return list(rows)
    found: list[Any] = [None] * ranks.number
    torch.distributed.all_gather_object(found, list(rows), group=ranks.group)
    return [row for part in found for row in part]
