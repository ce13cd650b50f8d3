"""Ranks systems by pairwise preferences (Bradley & Terry 1952)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError, first_few

_MOST_ROUNDS = 100_000
_TOLERANCE = 1e-12


def count_wins(first: Sequence[str], second: Sequence[str], preferred: Sequence[str]) -> tuple[list[str], Tensor]:
    """Count how often each system was preferred to each other one.

    Args:
        first: Name of the system that wrote a1, one per pair.
        second: Name of the system that wrote a2.
        preferred: ``a1``, ``a2`` or ``same`` (half a win for each).

    Returns:
        The systems in alphabetical order, and float64 ``[M, M]``: how often row i was preferred to column j.

    Raises:
        DataError: If lengths differ, or a preference is unknown.

    Examples:
        >>> names, wins = count_wins(["x", "y"], ["y", "x"], ["a1", "same"])
        >>> names, wins.tolist()
        (['x', 'y'], [[0.0, 1.5], [0.5, 0.0]])
    """
    if not len(first) == len(second) == len(preferred):
        raise DataError(f"{len(first)}, {len(second)} and {len(preferred)} values; give one of each per pair")
    names = sorted({*first, *second})
    index = {name: i for i, name in enumerate(names)}
    wins = torch.zeros(len(names), len(names), dtype=torch.float64)
    shares = {"a1": (1.0, 0.0), "a2": (0.0, 1.0), "same": (0.5, 0.5)}
    for one, other, answer in zip(first, second, preferred, strict=True):
        if answer not in shares:
            raise DataError(f"a preference is {answer!r}, but must be one of {first_few(shares)}")
        if one != other:  # a system against itself is no evidence
            wins[index[one], index[other]] += shares[answer][0]
            wins[index[other], index[one]] += shares[answer][1]
    return names, wins


def bradley_terry(wins: Tensor, prior: float = 0.0) -> Tensor:
    """The maximum-likelihood strengths s, with P(i is preferred to j) = s_i / (s_i + s_j).

    They are computed by the iteration of Hunter (2004, "MM algorithms for generalized Bradley-Terry models", eq. 3).

    Args:
        wins: float ``[M, M]``: how often i was preferred to j; the diagonal does not count.
        prior: Number of wins added for each system of every pair. Without a prior, strengths are infinite if some
            systems were never preferred to any of the others.

    Returns:
        float64 ``[M]``: natural logarithms of the strengths, with mean 0.

    Raises:
        ConfigError: If ``prior`` is negative.
        DataError: If ``wins`` is not such a table, or (``prior=0``) does not connect all systems.

    Examples:
        >>> strengths = bradley_terry(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
        >>> round(float((strengths[0] - strengths[1]).exp()), 6)
        3.0
    """
    if prior < 0:
        raise ConfigError(f"prior is {prior}; expected 0 or more")
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or len(wins) < 2 or bool((wins < 0).any()):
        raise DataError(
            f"wins have the shape {list(wins.shape)}; expected [M, M] of at least two systems, none negative"
        )
    table = wins.double().cpu().clone() + prior
    table.fill_diagonal_(0.0)
    _check_bound(table)
    games, won = table + table.T, table.sum(1)
    strengths = torch.ones(len(table), dtype=torch.float64)
    for _ in range(_MOST_ROUNDS):
        new = won / (games / (strengths[:, None] + strengths[None])).sum(1)
        new = new / new.log().mean().exp()
        change = float((new.log() - strengths.log()).abs().max())
        strengths = new
        if change < _TOLERANCE:
            break
    return strengths.log()


def _check_bound(table: Tensor) -> None:
    """Reject a table in which some systems were never preferred to the rest (Ford 1957): no strengths fit it."""
    reach = (table > 0) | torch.eye(len(table), dtype=torch.bool)
    for _ in range(len(table)):
        reach = (reach.double() @ reach.double()) > 0
    if not bool(reach.all()):
        stuck = [number for number, row in enumerate(reach.tolist()) if not all(row)]
        raise DataError(
            f"the systems number {', '.join(map(str, stuck))} were never preferred, directly or through others, to "
            "some of the rest, so no finite strengths fit; pass prior, such as 0.5"
        )
