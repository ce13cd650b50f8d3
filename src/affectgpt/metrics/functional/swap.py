"""Measures whether preferences stay the same when the two descriptions are swapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.metrics.functional.preference import MIRRORED, parse_preference
from affectgpt.metrics.labels import check_mode


def swap_consistency(preds: Sequence[Any], swapped: Sequence[Any], mode: str = "official") -> dict[str, Tensor]:
    """Compare the answers of both orders of the same pairs.

    Args:
        preds: An answer per pair, see ``parse_preference``.
        swapped: The answers to the same pairs with the two descriptions swapped.
        mode: How answers are read; ``strict`` counts a pair with an answer that cannot be read as inconsistent.

    Returns:
        float64 ``consistency`` (share of pairs whose second answer is the mirror of the first) and ``first_share``
        (share of a1 among all answers of a1 or a2, in both orders: 0.5 without a position bias; NaN without such
        answers); int64 ``samples``.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If there are no pairs, lengths differ, or an answer is not a string.

    Examples:
        >>> found = swap_consistency(["a1", "a2", "a1"], ["a2", "a1", "a1"])
        >>> round(float(found["consistency"]), 3), round(float(found["first_share"]), 3)
        (0.667, 0.667)
    """
    known_mode = check_mode(mode)
    if len(preds) != len(swapped) or not len(preds):
        raise DataError(f"{len(preds)} answers, but {len(swapped)} of the swapped order; pass one of each per pair")
    pairs = [
        (parse_preference(a, known_mode), parse_preference(b, known_mode)) for a, b in zip(preds, swapped, strict=True)
    ]
    same = sum(a is not None and MIRRORED[a] == b for a, b in pairs)
    decided = [answer for pair in pairs for answer in pair if answer in ("a1", "a2")]
    first = decided.count("a1") / len(decided) if decided else float("nan")
    return {
        "consistency": torch.tensor(same / len(pairs), dtype=torch.float64),
        "first_share": torch.tensor(first, dtype=torch.float64),
        "samples": torch.tensor(len(pairs)),
    }
