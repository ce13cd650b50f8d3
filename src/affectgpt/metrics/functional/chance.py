"""Hits above chance: what the hit rate leaves when the hits that answers score on shuffled targets are taken off.

Per wheel, over the n samples that count in it, let a(g) be the samples whose answer names group g, and t(g) those whose
target does. Then

    observed = sum of shared groups / n
    expected = sum over g of a(g) t(g) / n^2
    possible = sum over g of t(g)/n - (t(g)/n)^2
    skill    = (observed - expected) / possible

*expected* is the mean of *observed* over all ways to deal the targets out to the answers anew, in closed form: a target
is dealt to each answer with probability 1/n. *possible* is the largest *observed* - *expected* there is, reached where
every answer names the groups of its target and no other that occurs. So naming a group costs its share of the targets,
right or wrong, and earns 1 where it is right: the same answer for every sample has skill 0, however long it is, and so,
on average, have answers that know nothing of the targets. The range is -1 to 1.

With one group an answer this is the skill score of Peirce (1884) and Hanssen & Kuipers (1965) in its form for several
categories (Wilks, Statistical Methods in the Atmospheric Sciences), which is equitable in the sense of Gandin & Murphy
(1992); here answers are sets. Cohen's kappa differs in the denominator, 1 - expected, which long answers drive to 0, so
that one more hit would weigh as much as one likes.

In mode strict, true labels that no vocabulary has share 1,024 places by a hash, so that ranks can add up their totals.
Two that fall together count as one group in *expected*: that can take skill from an answer, and gives a constant one
none.
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
    """How many of the samples that count name each group, int64 ``[2, W, width]``: answers, targets.

    The groups of a wheel come first, padded to those of the largest, then the words that are groups of their own.

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
    """Hits above chance per wheel, see above.

    Args:
        shared: Shared groups, summed over the samples that count, ``[..., W]``.
        kept: Samples that count, ``[..., W]``.
        totals: ``[..., 2, W, width]``, see ``group_totals``.
        mode: Where no sample counts, ``official`` gives NaN and ``strict`` 0.

    Returns:
        float64 ``[..., W]``; 0 where all targets are the same, so that there is nothing to tell apart.
    """
    # Both sides times n^2: whole numbers, so that what should be 0 is.
    shared, kept, totals = shared.double(), kept.double(), totals.double()
    answers, targets = totals.unbind(-3)
    gain = kept * shared - (answers * targets).sum(-1)
    possible = kept * targets.sum(-1) - targets.square().sum(-1)
    skill = torch.where(possible > 0, gain / possible, torch.where(kept > 0, 0.0, torch.nan))
    return skill.nan_to_num(0.0) if mode == "strict" else skill


def group_columns(groups: Groups, keep: Keep, wheel: int) -> tuple[Columns, Columns]:
    """Which groups that occur among the targets of one wheel each sample names, 0 or 1, float64 ``[N, C]``.

    Args:
        groups: The groups of answers and targets.
        keep: bool ``[N, W]``: ``True`` where the sample counts in the wheel.
        wheel: Counted from 0.

    Returns:
        Of the answers and of the targets, samples that do not count left at 0.
    """
    own = groups.target.owned_in(wheel)
    words = np.unique(groups.target.own_words[own])
    occurring = np.flatnonzero(groups.target.placed_in(wheel).any(axis=0))

    def columns(sets: GroupSets) -> Columns:
        found = np.zeros((len(keep), len(occurring) + len(words)))
        found[:, : len(occurring)] = sets.placed_in(wheel)[:, occurring]
        chosen = sets.owned_in(wheel) & np.isin(sets.own_words, words)
        place = np.searchsorted(words, sets.own_words[chosen])
        found[sets.own_samples[chosen], len(occurring) + place] = 1
        return found * keep[:, wheel, None]

    return columns(groups.preds), columns(groups.target)
