"""Hits above chance: the hit rate minus the hits that the same answers score on shuffled targets.

Per wheel, over the n samples that count in it, let a(g) be the number of samples whose answer names group g, and t(g)
the number whose target does. Then

    observed = sum of shared groups / n
    expected = sum over g of a(g) t(g) / n^2
    possible = sum over g of t(g)/n - (t(g)/n)^2
    skill    = (observed - expected) / possible

**expected* is the mean of *observed* over all permutations of the targets, in closed form: each answer gets each target
with probability 1/n. *possible* is the largest *observed* - *expected*; it is reached if every answer names the groups
of its target and no other group that occurs. So naming a group always costs the group's share of the targets, and earns
1 if it is right: the same answer for every sample has skill 0, however long it is, and so do, on average, answers that
are independent of the targets. The range is -1 to 1.

With one group per answer this is the multi-category form of the skill score of Peirce (1884) and Hanssen & Kuipers
(1965) (Wilks, Statistical Methods in the Atmospheric Sciences), which is equitable in the sense of Gandin & Murphy
(1992); here answers are sets. Cohen's kappa differs in the denominator, 1 - expected, which long answers drive towards
0, so that a single hit could gain any weight.

In mode strict, true labels outside the vocabulary are hashed into 1,024 slots, so that ranks can add up their totals.
Two labels in one slot count as one group in *expected*: that can lower the skill of an answer, but never raises that of
a constant answer above 0.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from affectgpt.metrics.functional.groups import Groups, GroupSets, num_bytes, num_slots
from affectgpt.metrics.labels import Mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

Keep = npt.NDArray[np.bool_]
Columns = npt.NDArray[np.float64]


def group_totals(groups: Groups, keep: Keep) -> Tensor:
    """Number of counted samples that name each group, int64 ``[2, W, width]``: answers, targets.

    The groups of a wheel come first, padded to the largest wheel, then the words that are groups of their own.

    Args:
        groups: The groups of answers and targets.
        keep: bool ``[N, W]``: ``True`` where the sample counts in the wheel.
    """
    widest = 8 * max(end - start for start, end in pairwise(groups.target.byte_starts))
    found = np.zeros((2, groups.target.num_wheels, widest + groups.num_slots), dtype=np.int64)
    for rows, sets in zip(found, (groups.preds, groups.target), strict=True):
        for wheel, row in enumerate(rows):
            counts = sets.counts_in(wheel, keep[:, wheel])
            row[: len(counts)] = counts
            own = sets.owned_in(wheel) & keep[sets.own_samples, wheel]
            row[widest:] = np.bincount(groups.slots[sets.own_words[own]], minlength=groups.num_slots)
    return torch.from_numpy(found)


def totals_width(wheel: EmotionWheel, level: int, mode: Mode) -> int:
    """The last dimension of ``group_totals``."""
    largest = max(len(wheel.grouping(w, level).groups) for w in range(1, wheel.num_wheels + 1))
    return 8 * num_bytes(largest) + num_slots(wheel, mode)


def skill_of(shared: Tensor, kept: Tensor, totals: Tensor, mode: Mode) -> Tensor:
    """Hits above chance per wheel; the formula is at the top of this file.

    Args:
        shared: Shared groups, summed over the samples that count, ``[..., W]``.
        kept: Samples that count, ``[..., W]``.
        totals: ``[..., 2, W, width]``, see ``group_totals``.
        mode: If no sample counts, ``official`` gives NaN and ``strict`` 0.

    Returns:
        float64 ``[..., W]``; 0 if all targets are the same, so that there is nothing to tell apart.
    """
    # Numerator and denominator are multiplied by n^2: float64 holds these integers exactly, so a skill of 0 is exactly
    # 0.
    shared, kept, totals = shared.double(), kept.double(), totals.double()
    answers, targets = totals.unbind(-3)
    gain = kept * shared - (answers * targets).sum(-1)
    possible = kept * targets.sum(-1) - targets.square().sum(-1)
    skill = torch.where(possible > 0, gain / possible, torch.where(kept > 0, 0.0, torch.nan))
    return skill.nan_to_num(0.0) if mode == "strict" else skill


def group_columns(groups: Groups, keep: Keep, wheel: int) -> tuple[Columns, Columns]:
    """For each group that occurs among the targets of one wheel, whether a sample names it: 0 or 1, float64 ``[N, C]``.

    Args:
        groups: The groups of answers and targets.
        keep: bool ``[N, W]``: ``True`` where the sample counts in the wheel.
        wheel: The wheel's index, from 0.

    Returns:
        One array for the answers and one for the targets; rows of samples that do not count are 0.
    """
    own = groups.target.owned_in(wheel)
    words = np.unique(groups.target.own_words[own])
    occurring = np.flatnonzero(groups.target.placed_in(wheel).any(axis=0))

    def columns(sets: GroupSets) -> Columns:
        found = np.zeros((len(keep), len(occurring) + len(words)))
        found[:, : len(occurring)] = sets.placed_in(wheel)[:, occurring]
        chosen = sets.owned_in(wheel) & np.isin(sets.own_words, words)
        column = np.searchsorted(words, sets.own_words[chosen])
        found[sets.own_samples[chosen], len(occurring) + column] = 1
        return found * keep[:, wheel, None]

    return columns(groups.preds), columns(groups.target)
