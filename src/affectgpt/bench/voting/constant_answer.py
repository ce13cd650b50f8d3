"""Finds the best answer that is the same for every sample: what a score is worth beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.metrics.functional.groups import label_groups
from affectgpt.metrics.functional.per_sample import label_words
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_BEAM = 32


@dataclass(frozen=True)
class _WheelSums:
    """What the gold of a set makes of a constant answer in one wheel.

    With P the groups of the answer and G those of a true answer, over the samples whose G is not empty, precision is
    the mean of |P & G| / |P| = (sum of ``share[g]`` over P) / |P|, and recall the mean of |P & G| / |G| = sum of
    ``weight[g]`` over P.

    Attributes:
        codes: int64 ``[C]``: the group of each candidate, or -1.
        share: float64 ``[G]``: share of the samples whose true answer has the group.
        weight: float64 ``[G]``: mean over samples of 1 / |G| where the true answer has the group.
    """

    codes: Numbers
    share: Floats
    weight: Floats


def best_constant_answer(target: Sequence[Any], wheel: EmotionWheel, num_words: int, task: str = "open") -> list[str]:
    """The words that score best if every sample is answered with them; found by beam search over the gold.

    Words in the same groups of all wheels are one candidate. The score is the published one: wheel F1 of label lists,
    or hit rate of single labels (``task="discrete"``).

    Args:
        target: The true labels.
        wheel: The vocabulary.
        num_words: How many words.
        task: ``open`` or ``discrete``.
    """
    if task == "discrete":
        target = [[label] if isinstance(label, str) else [] for label in target]
    sets = label_groups([[]] * len(target), target, wheel).target
    codes = np.stack([wheel.grouping(w).codes.astype(np.int64) for w in range(1, wheel.num_wheels + 1)], axis=1)
    candidates = _candidates(codes, wheel, label_words(target))
    sums = []
    for number in range(wheel.num_wheels):
        placed = sets.placed_in(number).astype(np.float64)
        size = placed.sum(1)
        kept = placed[size > 0]
        share = kept.mean(0) if len(kept) else np.zeros(placed.shape[1])
        weight = (kept / size[size > 0, None]).mean(0) if len(kept) else share
        sums.append(_WheelSums(codes[candidates, number], share, weight))
    beam: list[tuple[int, ...]] = [()]
    for _ in range(min(num_words, len(candidates))):
        grown: dict[tuple[int, ...], float] = {}
        for chosen, scores in zip(beam, _grown_scores(beam, sums, task), strict=True):
            scores[list(chosen)] = -1.0
            for place in np.argsort(-scores, kind="stable")[:_BEAM].tolist():
                if scores[place] >= 0:
                    grown[tuple(sorted((*chosen, place)))] = float(scores[place])
        beam = sorted(grown, key=lambda one: (-grown[one], one))[:_BEAM]
    return sorted(wheel.labels[candidates[place]] for place in beam[0])


def _grown_scores(beam: Sequence[tuple[int, ...]], sums: Sequence[_WheelSums], task: str) -> Floats:
    """The score of every answer of the beam with every candidate added, float64 ``[B, C]``."""
    total = np.zeros((len(beam), len(sums[0].codes)))
    for of_wheel in sums:
        has = np.zeros((len(beam), len(of_wheel.share) + 1), dtype=bool)  # the last is "no group"
        for row, chosen in enumerate(beam):
            has[row, of_wheel.codes[list(chosen)]] = True
        has[:, -1] = True  # adding a word without a group adds nothing
        new = ~has[:, of_wheel.codes]
        share, weight = (np.append(values, 0.0) for values in (of_wheel.share, of_wheel.weight))
        has[:, -1] = False
        size = has.sum(1)[:, None] + new
        found = (has @ share)[:, None] + new * share[of_wheel.codes]
        if task == "discrete":
            total += found
            continue
        precision = found / np.maximum(size, 1)
        recall = (has @ weight)[:, None] + new * weight[of_wheel.codes]
        total += 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return total / len(sums)


def _candidates(codes: Numbers, wheel: EmotionWheel, frequent: Counter[str]) -> list[int]:
    """One label for every set of groups: the most frequent in the gold, the shortest, the first."""
    order = sorted(range(len(wheel.labels)), key=lambda i: (-frequent[wheel.labels[i]], len(wheel.labels[i]), i))
    first: dict[tuple[int, ...], int] = {}
    for label in order:
        first.setdefault(tuple(codes[label].tolist()), label)
    return list(first.values())
