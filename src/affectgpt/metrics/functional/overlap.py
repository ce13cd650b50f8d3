"""Count shared groups of predicted and true labels, per sample and wheel, without a loop over samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.errors import DataError
from affectgpt.metrics.functional.encode import Ints, LabelBatch, LabelEncoder
from affectgpt.metrics.labels import Mode, parse_labels
from affectgpt.metrics.wheel import NEUTRAL, EmotionWheel

_MAX_BITS = 64
_BITS_OF_BYTE = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class Overlap:
    """Sizes of the group sets of N samples in W wheels, int64 ``[N, W]`` each.

    Attributes:
        shared: Groups that the prediction shares with the target.
        num_pred: Groups of the prediction.
        num_target: Groups of the target; 0 where the wheel places none of its labels.
        label_counts: int64 ``[4]``: labels predicted, of these known; labels of the targets, of these known.
        num_empty: Samples whose prediction holds no label.
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

    In mode ``strict``, "neutral" is a group of its own in every wheel, and so is each word (in all its forms) that a
    wheel cannot place; in mode ``official`` such labels are dropped. A strict target without labels is neutral.

    Args:
        preds: Per sample the predicted labels.
        target: Per sample the true labels.
        wheel: The vocabulary.
        level: Ring of the wheels.
        mode: ``official`` or ``strict``.
        groupings: Keys of ``wheel.groupings`` instead of the wheels of ``level``.

    Raises:
        DataError: If the numbers of samples differ, or a label is not a text.
    """
    if len(preds) != len(target):
        raise DataError(f"{len(preds)} predictions, but {len(target)} targets; pass one of each per sample")
    encoder = LabelEncoder(wheel, mode)
    if mode == "strict":
        target = [parse_labels(labels) or [NEUTRAL] for labels in target]
    pred_batch, target_batch = encoder.encode(preds, "prediction"), encoder.encode(target, "target")
    tables = (
        [wheel.groupings[key] for key in groupings]
        if groupings is not None
        else [wheel.grouping(w, level) for w in range(1, wheel.num_wheels + 1)]
    )
    counts = [_count_one(pred_batch, target_batch, table.codes, len(table.groups), wheel.kin, mode) for table in tables]
    shared, num_pred, num_target = (np.stack(arrays, axis=1) for arrays in zip(*counts, strict=True))
    labels = [*_label_counts(pred_batch, wheel), *_label_counts(target_batch, wheel)]
    num_empty = int((np.diff(pred_batch.starts) == 0).sum())
    return Overlap(shared, num_pred, num_target, np.array(labels, dtype=np.int64), num_empty)


def _label_counts(batch: LabelBatch, wheel: EmotionWheel) -> tuple[int, int]:
    # Strict "neutral" (number V) is known; unseen labels are -1 or above V.
    return len(batch.ids), int(((batch.ids >= 0) & (batch.ids <= len(wheel.labels))).sum())


def _count_one(
    preds: LabelBatch,
    target: LabelBatch,
    codes: npt.NDArray[np.int16],
    num_groups: int,
    kin: npt.NDArray[np.int32],
    mode: Mode,
) -> tuple[Ints, Ints, Ints]:
    """Shared, predicted and true groups per sample, int64 ``[N]`` each, in one wheel."""
    # One row more for "neutral"; the last row (number -1) is "no group".
    neutral = num_groups if mode == "strict" else -1
    table = np.concatenate([codes.astype(np.int64), [neutral, -1]])
    num_bits = num_groups + 1
    in_pred, in_target = _placed(preds, table), _placed(target, table)
    if num_bits <= _MAX_BITS:
        pred_mask, target_mask = _masks(preds, in_pred, num_bits), _masks(target, in_target, num_bits)
        counts = _popcount(pred_mask & target_mask), _popcount(pred_mask), _popcount(target_mask)
    else:
        counts = _count_keys(preds, target, in_pred, in_target)
    if mode == "strict":
        own = _count_keys(preds, target, _own(preds, in_pred, kin), _own(target, in_target, kin))
        counts = counts[0] + own[0], counts[1] + own[1], counts[2] + own[2]
    return counts


def _placed(batch: LabelBatch, table: Ints) -> Ints:
    """The group of each label, -1 where it has none."""
    unseen = (batch.ids < 0) | (batch.ids >= len(table) - 1)
    return table[np.where(unseen, len(table) - 1, batch.ids)]


def _own(batch: LabelBatch, groups: Ints, kin: npt.NDArray[np.int32]) -> Ints:
    """For labels without a group the number of their word, disjoint for known and unseen words; else -1."""
    known = batch.ids < len(kin)
    words = np.where(known, kin[np.where(known, batch.ids, 0)] if len(kin) else 0, batch.ids + (1 << 31))
    return np.where(groups < 0, words, -1)


def _masks(batch: LabelBatch, groups: Ints, num_bits: int) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Per sample the set of its groups as the bits of a number."""
    kind = next(t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if np.iinfo(t).bits >= num_bits)
    bit_of = np.concatenate([np.left_shift(kind(1), np.arange(num_bits, dtype=kind)), np.zeros(1, dtype=kind)])
    # The closing 0 keeps the starts of trailing empty samples inside the array.
    bits = np.append(bit_of[groups], kind(0))
    masks: npt.NDArray[np.unsignedinteger[Any]] = bits[:0]
    if batch.num_samples:
        masks = np.bitwise_or.reduceat(bits, batch.starts[:-1])
    masks[np.diff(batch.starts) == 0] = 0
    return masks


def _popcount(masks: npt.NDArray[np.unsignedinteger[Any]]) -> Ints:
    pieces = np.ascontiguousarray(masks).view(np.uint8).reshape(len(masks), masks.itemsize)
    counts: Ints = _BITS_OF_BYTE[pieces].sum(axis=1, dtype=np.int64)
    return counts


def _count_keys(preds: LabelBatch, target: LabelBatch, in_pred: Ints, in_target: Ints) -> tuple[Ints, Ints, Ints]:
    """The same counts by sorting (sample, group) pairs, for any number of groups."""
    span = int(max(in_pred.max(initial=0), in_target.max(initial=0))) + 1
    keys = []
    for batch, groups in ((preds, in_pred), (target, in_target)):
        keep = groups >= 0
        keys.append(np.unique(batch.rows[keep] * span + groups[keep]))
    both = np.intersect1d(keys[0], keys[1], assume_unique=True)
    shared, num_pred, num_target = (
        np.bincount(k // span, minlength=preds.num_samples).astype(np.int64) for k in (both, *keys)
    )
    return shared, num_pred, num_target
