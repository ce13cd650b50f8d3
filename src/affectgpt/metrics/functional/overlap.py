"""Count shared groups of predicted and true labels, per sample and wheel, without a loop over samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.errors import DataError
from affectgpt.metrics.functional.encode import Ints, LabelBatch, LabelEncoder
from affectgpt.metrics.labels import Mode, parse_labels
from affectgpt.metrics.wheel import NEUTRAL, EmotionWheel, Grouping

Words = npt.NDArray[np.uint64]

# numpy 1 has no count of its own.
_bits_of_bytes = getattr(np, "bitwise_count", np.array([i.bit_count() for i in range(256)], dtype=np.uint8).__getitem__)


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
        target = [_strict_target(labels) for labels in target]
    pred_batch, target_batch = encoder.encode(preds, "prediction"), encoder.encode(target, "target")
    tables = (
        [wheel.groupings[key] for key in groupings]
        if groupings is not None
        else [wheel.grouping(w, level) for w in range(1, wheel.num_wheels + 1)]
    )
    counts = _count_placed(pred_batch, target_batch, tables, mode)
    if mode == "strict":
        for column, table in enumerate(tables):
            own = _count_own(pred_batch, target_batch, table.codes, wheel.kin)
            for total, found in zip(counts, own, strict=True):
                total[:, column] += found
    shared, num_pred, num_target = counts
    labels = [*_label_counts(pred_batch, wheel), *_label_counts(target_batch, wheel)]
    num_empty = int((np.diff(pred_batch.starts) == 0).sum())
    return Overlap(shared, num_pred, num_target, np.array(labels, dtype=np.int64), num_empty)


def _label_counts(batch: LabelBatch, wheel: EmotionWheel) -> tuple[int, int]:
    # Strict "neutral" (number V) is known; unseen labels are -1 or above V.
    return len(batch.ids), int(((batch.ids >= 0) & (batch.ids <= len(wheel.labels))).sum())


def _strict_target(labels: Any) -> Any:
    if isinstance(labels, list) and labels:
        return labels
    return parse_labels(labels) or [NEUTRAL]


def _count_placed(preds: LabelBatch, target: LabelBatch, tables: Sequence[Grouping], mode: Mode) -> list[Ints]:
    """Shared, predicted and true groups that the wheels have a place for, int64 ``[N, W]`` each."""
    bits, byte_starts = _bit_table(tables, mode)
    pred_mask, target_mask = _masks(preds, bits), _masks(target, bits)
    return [_count_bits(mask, byte_starts) for mask in (pred_mask & target_mask, pred_mask, target_mask)]


def _bit_table(tables: Sequence[Grouping], mode: Mode) -> tuple[Words, list[int]]:
    """The groups of each label as bits, uint64 ``[num_labels + 2, num_words]``, and the first byte of each wheel.

    Each wheel owns whole bytes of a row, so that one pass over the labels serves all wheels. The row after the last
    label is "neutral", which has a bit of its own in mode strict; the closing row is empty.
    """
    byte_starts = list(accumulate((len(table.groups) // 8 + 1 for table in tables), initial=0))
    rows = np.zeros((len(tables[0].codes) + 2, -(-byte_starts[-1] // 8) * 8), dtype=np.uint8)
    for table, start in zip(tables, byte_starts, strict=False):
        codes = np.append(table.codes.astype(np.int64), len(table.groups) if mode == "strict" else -1)
        placed = np.flatnonzero(codes >= 0)
        rows[placed, start + codes[placed] // 8] = np.left_shift(1, codes[placed] % 8).astype(np.uint8)
    return rows.view(np.uint64), byte_starts


def _masks(batch: LabelBatch, bits: Words) -> Words:
    """Per sample the set of its groups, uint64 ``[N, num_words]``."""
    last = len(bits) - 1
    # Unseen labels take the closing, empty row; one more of it keeps the starts of trailing empty samples inside.
    rows = np.append(np.where((batch.ids < 0) | (batch.ids > last), last, batch.ids), last)
    masks = np.zeros((batch.num_samples, bits.shape[1]), dtype=np.uint64)
    if batch.num_samples:
        for word in range(bits.shape[1]):
            masks[:, word] = np.bitwise_or.reduceat(bits[rows, word], batch.starts[:-1])
    masks[np.diff(batch.starts) == 0] = 0
    return masks


def _count_bits(masks: Words, byte_starts: Sequence[int]) -> Ints:
    """Set bits per sample and wheel, int64 ``[N, W]``."""
    counts = _bits_of_bytes(masks.view(np.uint8))
    # One wheel after the other in memory, as all that follows goes through them wheel by wheel.
    found = np.empty((len(byte_starts) - 1, len(masks)), dtype=np.int64).T
    for wheel, (start, end) in enumerate(pairwise(byte_starts)):
        found[:, wheel] = counts[:, start]
        for byte in range(start + 1, end):
            found[:, wheel] += counts[:, byte]
    return found


def _count_own(
    preds: LabelBatch, target: LabelBatch, codes: npt.NDArray[np.int16], kin: npt.NDArray[np.int32]
) -> tuple[Ints, Ints, Ints]:
    """Shared, predicted and true words without a group in one wheel, each a group of its own, int64 ``[N]`` each."""
    # Words of the vocabulary are told apart by kin, unseen ones (beyond "neutral") by their own number.
    unplaced = np.append(codes < 0, [False, True])
    span = len(kin) + max(int(batch.ids.max(initial=0)) for batch in (preds, target)) + 1
    keys = []
    for batch in (preds, target):
        keep = np.flatnonzero(unplaced[np.minimum(batch.ids, len(unplaced) - 1)])
        ids = batch.ids[keep]
        known = ids < len(kin)
        words = np.where(known, kin[np.where(known, ids, 0)], ids + len(kin))
        samples = np.searchsorted(batch.starts, keep, side="right") - 1
        keys.append(np.unique(samples * span + words))
    both = np.intersect1d(keys[0], keys[1], assume_unique=True)
    shared, num_pred, num_target = (
        np.bincount(k // span, minlength=preds.num_samples).astype(np.int64) for k in (both, *keys)
    )
    return shared, num_pred, num_target
