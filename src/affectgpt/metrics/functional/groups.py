"""The groups that predicted and true labels fall into, per sample and wheel, without a loop over samples.

Let g(l, w) be the group of label l in wheel w. The scores need, for the predicted labels P and the true labels T of a
sample, the sizes of three sets in each wheel:

    A(w) = {g(l, w) : l in P}        B(w) = {g(l, w) : l in T}        A(w) & B(w)

Python sets would take ten times as long. All wheels together have a few dozen groups, so the sets of a sample are bits
of a few 64-bit words, and every step is one numpy call over all samples:

    bit b of wheel w    bit b % 8 of byte byte_starts[w] + b // 8; a wheel begins on a new byte
    set of a sample     bitwise or of the rows of its labels (``_masks``)
    shared groups       bitwise and (``GroupSets.__and__``)
    size of a set       number of bits that are set in the wheel's bytes (``GroupSets.sizes``)

Mode strict adds groups that no table lists: each word without a group in a wheel is a group of its own there. There are
too many such words for bits, but few per sample, so they are kept as sorted pairs (sample, word), with one bit for each
wheel that has no group for the word. A pair is stored as one integer, sample * span + word with span > max(word); this
keeps the order of the pairs, so that they can be sorted and searched as integers.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.errors import DataError
from affectgpt.metrics.functional.label_ids import Ints, LabelBatch, LabelEncoder, all_texts
from affectgpt.metrics.labels import Mode, parse_labels
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL, EmotionWheel
from affectgpt.metrics.wheel.grouping import Grouping

Words = npt.NDArray[np.uint64]

NUM_UNSEEN_SLOTS = 1024
"""Number of slots into which unseen words are hashed for totals per word."""

# numpy 1 has no bitwise_count.
_bits_of_bytes = getattr(np, "bitwise_count", np.array([i.bit_count() for i in range(256)], dtype=np.uint8).__getitem__)

_BITS_OF_VALUES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.int64)


@dataclass(frozen=True)
class GroupSets:
    """The groups of N samples in W wheels.

    Attributes:
        placed: uint64 ``[N, num_words]``: groups of the wheels as bits; the bits of each wheel fill whole bytes.
        byte_starts: First byte of each wheel, then the end of the last wheel.
        own_samples: int64 ``[K]``, ascending: for each word without a group in some wheel, its sample (mode strict).
        own_words: int64 ``[K]``: the numbers of these words; forms of one word have the same number.
        own_wheels: uint64 ``[K]``: bit w is set if wheel w has no group for the word, which is then a group of its own.
    """

    placed: Words
    byte_starts: Sequence[int]
    own_samples: Ints
    own_words: Ints
    own_wheels: Words

    @property
    def num_wheels(self) -> int:
        """Number of wheels."""
        return len(self.byte_starts) - 1

    def owned_in(self, wheel: int) -> npt.NDArray[np.bool_]:
        """For each of ``own_words``, whether it is a group of its own in one wheel, bool ``[K]``."""
        found: npt.NDArray[np.bool_] = (self.own_wheels >> np.uint64(wheel) & np.uint64(1)).astype(bool)
        return found

    def placed_in(self, wheel: int) -> npt.NDArray[np.uint8]:
        """Whether each sample has each group of one wheel: 0 or 1, uint8 ``[N, width]``."""
        start, end = self.byte_starts[wheel : wheel + 2]
        return np.unpackbits(self.placed.view(np.uint8)[:, start:end], axis=1, bitorder="little")

    def counts_in(self, wheel: int, keep: npt.NDArray[np.bool_]) -> Ints:
        """Number of kept samples that have each group of one wheel, int64 ``[width]``."""
        start, end = self.byte_starts[wheel : wheel + 2]
        columns = self.placed.view(np.uint8)[:, start:end]
        kept = columns if keep.all() else columns[keep]
        # count(bit b) = sum over v in 0..255 of count(byte == v) * bit b of v: one bincount per byte, whatever N is.
        values = np.stack([np.bincount(kept[:, byte], minlength=256) for byte in range(end - start)])
        found: Ints = (values @ _BITS_OF_VALUES).ravel()
        return found

    def sizes(self) -> Ints:
        """Number of groups of each sample in each wheel, int64 ``[N, W]``."""
        counts = _bits_of_bytes(self.placed.view(np.uint8))
        # Stored wheel by wheel, because later steps read one wheel at a time.
        found = np.empty((self.num_wheels, len(self.placed)), dtype=np.int64).T
        for wheel, (start, end) in enumerate(pairwise(self.byte_starts)):
            found[:, wheel] = counts[:, start]
            for byte in range(start + 1, end):
                found[:, wheel] += counts[:, byte]
        if len(self.own_samples):
            for wheel in range(self.num_wheels):
                owners = self.own_samples[self.owned_in(wheel)]
                found[:, wheel] += np.bincount(owners, minlength=len(self.placed))
        return found

    def __and__(self, other: GroupSets) -> GroupSets:
        """Intersection of the groups, sample by sample."""
        # The pairs (sample, word) in both: each pair of ``self`` is searched for in the sorted pairs of ``other``.
        span = max(int(sets.own_words.max(initial=0)) for sets in (self, other)) + 1
        keys, others = (sets.own_samples * span + sets.own_words for sets in (self, other))
        found = np.minimum(np.searchsorted(others, keys), max(len(others) - 1, 0))
        both = np.flatnonzero(others[found] == keys) if len(others) else np.zeros(0, dtype=np.int64)
        return GroupSets(
            self.placed & other.placed,
            self.byte_starts,
            self.own_samples[both],
            self.own_words[both],
            self.own_wheels[both] & other.own_wheels[found[both]],
        )


@dataclass(frozen=True)
class Groups:
    """The groups of predictions and targets.

    Attributes:
        preds: Groups of the predictions.
        target: Groups of the targets.
        label_counts: int64 ``[4]``: predicted labels, known ones among them; target labels, known ones among them.
        num_empty: Number of samples whose prediction has no label.
        slots: int64: word number (see ``own_words``) to its slot in totals per word.
        num_slots: Number of slots: one for each word of the vocabulary, and ``NUM_UNSEEN_SLOTS`` for all others.
    """

    preds: GroupSets
    target: GroupSets
    label_counts: Ints
    num_empty: int
    slots: Ints
    num_slots: int


def label_groups(
    preds: Sequence[Any],
    target: Sequence[Any],
    wheel: EmotionWheel,
    level: int = 1,
    mode: Mode = "official",
    groupings: Sequence[str] | None = None,
) -> Groups:
    """Sort the labels of every sample into the groups of every wheel.

    In mode ``strict``, "neutral" is a group of its own in every wheel, and so is each word (in all its forms) without a
    group in a wheel; in mode ``official`` such labels are dropped. A strict target without labels is neutral.

    Args:
        preds: Per sample the predicted labels.
        target: Per sample the true labels.
        wheel: The vocabulary.
        level: Ring of the wheels.
        mode: ``official`` or ``strict``.
        groupings: Keys of ``wheel.groupings`` to use instead of the wheels of ``level``.

    Raises:
        DataError: If the numbers of samples differ, or a label is not a text.
    """
    if len(preds) != len(target):
        raise DataError(f"{len(preds)} predictions, but {len(target)} targets; pass one of each per sample")
    encoder = LabelEncoder(wheel, mode)
    if mode == "strict":
        target = _strict_targets(target)
    batches = encoder.encode(preds, "prediction"), encoder.encode(target, "target")
    tables = (
        [wheel.groupings[key] for key in groupings]
        if groupings is not None
        else [wheel.grouping(w, level) for w in range(1, wheel.num_wheels + 1)]
    )
    bits, byte_starts = _bit_table(tables, mode)
    unplaced = _unplaced(tables)
    own = (lambda batch: _own(batch, unplaced, wheel)) if mode == "strict" else lambda _: _none()
    of_preds, of_target = (GroupSets(_masks(batch, bits), byte_starts, *own(batch)) for batch in batches)
    counted = [number for batch in batches for number in _label_counts(batch, wheel)]
    num_kin = _num_kin(wheel)
    hashed = [num_kin + zlib.crc32(word.encode("utf-8", "surrogatepass")) % NUM_UNSEEN_SLOTS for word in encoder.unseen]
    slots = np.array([*range(num_kin), *hashed], dtype=np.int64)
    num_empty = int((np.diff(batches[0].starts) == 0).sum())
    return Groups(of_preds, of_target, np.array(counted, dtype=np.int64), num_empty, slots, num_slots(wheel, mode))


def num_bytes(num_groups: int) -> int:
    """Number of bytes that hold the groups of a wheel and "neutral"."""
    return num_groups // 8 + 1


def num_slots(wheel: EmotionWheel, mode: Mode) -> int:
    """Number of slots in totals per word; 0 in mode ``official``, which drops such words."""
    return _num_kin(wheel) + NUM_UNSEEN_SLOTS if mode == "strict" else 0


def _num_kin(wheel: EmotionWheel) -> int:
    return int(wheel.kin.max(initial=-1)) + 1


def _label_counts(batch: LabelBatch, wheel: EmotionWheel) -> tuple[int, int]:
    # "neutral" (number V, mode strict) is known; unseen labels are -1 or above V.
    return len(batch.ids), int(((batch.ids >= 0) & (batch.ids <= len(wheel.labels))).sum())


def _strict_targets(target: Sequence[Any]) -> list[Any]:
    def read(labels: Any) -> list[str]:
        return parse_labels(labels) or [NEUTRAL]

    if all_texts(target):
        # Single true labels repeat.
        parsed = {text: read(text) for text in set(target)}
        return list(map(parsed.__getitem__, target))
    neutral = [NEUTRAL]
    return [(labels or neutral) if type(labels) is list else read(labels) for labels in target]


def _bit_table(tables: Sequence[Grouping], mode: Mode) -> tuple[Words, list[int]]:
    """The groups of each label as bits, uint64 ``[num_labels + 2, num_words]``, and the first byte of each wheel.

    The bits of each wheel fill whole bytes of a row, so that one pass over the labels serves all wheels. The row after
    the last label is that of "neutral", which has a bit of its own in mode strict; the last row is empty.
    """
    byte_starts = list(accumulate((num_bytes(len(table.groups)) for table in tables), initial=0))
    rows = np.zeros((len(tables[0].codes) + 2, -(-byte_starts[-1] // 8) * 8), dtype=np.uint8)
    for table, start in zip(tables, byte_starts, strict=False):
        codes = np.append(table.codes.astype(np.int64), len(table.groups) if mode == "strict" else -1)
        placed = np.flatnonzero(codes >= 0)
        rows[placed, start + codes[placed] // 8] = np.left_shift(1, codes[placed] % 8).astype(np.uint8)
    return rows.view(np.uint64), byte_starts


def _masks(batch: LabelBatch, bits: Words) -> Words:
    """The groups of each sample as bits, uint64 ``[N, num_words]``."""
    # reduceat gives a[s[i]] | ... | a[s[i + 1] - 1] for the starts s. Two of its rules need care: a start must lie
    # inside the array, and an empty sample (s[i] = s[i + 1]) gets a[s[i]], the first label of the next sample.
    last = len(bits) - 1
    # Unseen labels take the last, empty row; one more such row keeps the starts of empty samples at the end inside.
    rows = np.append(np.where((batch.ids < 0) | (batch.ids > last), last, batch.ids), last)
    masks = np.zeros((batch.num_samples, bits.shape[1]), dtype=np.uint64)
    if batch.num_samples:
        for word in range(bits.shape[1]):
            masks[:, word] = np.bitwise_or.reduceat(bits[rows, word], batch.starts[:-1])
    masks[np.diff(batch.starts) == 0] = 0
    return masks


def _unplaced(tables: Sequence[Grouping]) -> Words:
    """For each label, the wheels without a group for it, as bits: uint64 ``[num_labels + 2]``.

    The last two entries stand for "neutral", which has a group in every wheel, and for unseen words, which have none.
    """
    found = np.zeros(len(tables[0].codes) + 2, dtype=np.uint64)
    for wheel, table in enumerate(tables):
        found |= np.append(table.codes < 0, [False, True]).astype(np.uint64) << np.uint64(wheel)
    return found


def _none() -> tuple[Ints, Ints, Words]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)


def _own(batch: LabelBatch, unplaced: Words, wheel: EmotionWheel) -> tuple[Ints, Ints, Words]:
    """The fields ``own_samples``, ``own_words`` and ``own_wheels`` of ``GroupSets``."""
    wheels = unplaced[np.minimum(batch.ids, len(unplaced) - 1)]
    keep = np.flatnonzero(wheels)
    if not len(keep):
        return _none()
    ids, wheels, kin = batch.ids[keep], wheels[keep], wheel.kin
    # A word of the vocabulary is numbered by its kin; unseen words, whose ids begin after "neutral", continue the
    # count.
    first_unseen, num_kin = len(kin) + 1, _num_kin(wheel)
    words = np.where(ids < first_unseen, kin[np.minimum(ids, len(kin) - 1)], ids - first_unseen + num_kin)
    span = int(words.max()) + 1
    keys = batch.rows[keep] * span + words
    order = np.argsort(keys, kind="stable")
    keys, wheels = keys[order], wheels[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    # Two forms of a word may be in different wheels: the word is its own group wherever one of them has no group.
    return keys[first] // span, keys[first] % span, np.bitwise_or.reduceat(wheels, first)
