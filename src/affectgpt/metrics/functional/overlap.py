"""Counts the groups that predicted and true labels share, per sample and wheel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affectgpt.metrics.functional.groups import Groups, label_groups
from affectgpt.metrics.functional.label_ids import Ints
from affectgpt.metrics.labels import Mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel


@dataclass(frozen=True)
class Overlap:
    """Sizes of the group sets of N samples in W wheels, int64 ``[N, W]`` each.

    Attributes:
        shared: Groups that the prediction shares with the target.
        num_pred: Groups of the prediction.
        num_target: Groups of the target; 0 if the wheel has no group for any of its labels.
        label_counts: int64 ``[4]``: predicted labels, known ones among them; target labels, known ones among them.
        num_empty: Number of samples whose prediction has no label.
    """

    shared: Ints
    num_pred: Ints
    num_target: Ints
    label_counts: Ints
    num_empty: int


def count_overlap(
    preds: Sequence[Any],
    target: Sequence[Any],
    wheel: EmotionWheel,
    level: int = 1,
    mode: Mode = "official",
    groupings: Sequence[str] | None = None,
) -> Overlap:
    """Count, for every sample and wheel, the groups of prediction and target and those they share.

    Arguments and errors: ``label_groups``.
    """
    return overlap_of(label_groups(preds, target, wheel, level, mode, groupings))


def overlap_of(groups: Groups) -> Overlap:
    """The sizes of the sets and of their intersections."""
    shared = groups.preds & groups.target
    return Overlap(shared.sizes(), groups.preds.sizes(), groups.target.sizes(), groups.label_counts, groups.num_empty)
