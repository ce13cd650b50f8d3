"""Scores each true class separately."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from affectgpt.bench.match_samples import Reading
from affectgpt.bench.result import ClassFigures
from affectgpt.metrics.functional import emotion_sample_scores
from affectgpt.metrics.functional.sentiment import ANSWERS, sentiment_counts
from affectgpt.metrics.labels import is_missing, parse_labels


def scores_by_class(reading: Reading) -> tuple[ClassFigures, ...]:
    """Split the score by class, the most frequent class first.

    Returns:
        The figures of each class: for sets with one true label per sample ``hit_rate`` (the mean over the wheels that
        contain the class; ``None`` if none does); for sentiments, and for lists of true labels by the level-1 groups of
        wheel 1, ``precision``, ``recall`` and ``f1``.
    """
    if reading.sentiments is not None:
        return _of_sentiments(reading)
    return _of_labels(reading) if reading.test_set.task == "discrete" else _of_groups(reading)


def _of_labels(reading: Reading) -> tuple[ClassFigures, ...]:
    scores = emotion_sample_scores(reading.labels, reading.target, reading.wheel, mode=reading.mode)
    hits, keep = scores.hits.numpy(), scores.keep.numpy()
    if reading.mode == "strict":
        hits = hits > 0
    rows: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(reading.target):
        rows["no label" if is_missing(label) else str(label).lower().strip()].append(row)
    found = []
    for label, chosen in rows.items():
        kept = keep[chosen].sum(0)
        placed = kept > 0
        value = float((hits[chosen].sum(0)[placed] / kept[placed]).mean()) if placed.any() else None
        found.append(ClassFigures(label, len(chosen), {"hit_rate": value}))
    return _sorted(found)


def _of_sentiments(reading: Reading) -> tuple[ClassFigures, ...]:
    table = sentiment_counts(reading.sentiments or [], reading.target, reading.mode).double()
    negative, neutral, positive, other = range(len(ANSWERS))
    signed = table[[negative, positive]]
    said_negative = signed[:, negative]
    if reading.mode == "official":
        # Everything that is not positive counts as negative.
        said_negative = said_negative + signed[:, neutral] + signed[:, other]
    said = torch.stack([said_negative, signed[:, positive]], dim=1)
    found = []
    for row, label in enumerate(("negative", "positive")):
        samples, right, answered = signed[row].sum(), said[row, row], said[:, row].sum()
        found.append(_named(label, int(samples), float(right), float(answered), float(samples)))
    return _sorted(found)


def _of_groups(reading: Reading) -> tuple[ClassFigures, ...]:
    cache: dict[str, str | None] = {}

    def groups(answer: Any) -> set[str]:
        labels = answer if isinstance(answer, (list, tuple)) else parse_labels(answer, mode=reading.mode)
        for label in labels:
            if label not in cache:
                cache[label] = reading.wheel.group(label)
        return {group for label in labels if (group := cache[label]) is not None}

    tally: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = defaultdict(lambda: np.zeros(3, dtype=np.int64))
    for labels, gold in zip(reading.labels, reading.target, strict=True):
        answered, true = groups(labels), groups(gold)
        if not true and reading.mode == "official":
            continue
        for group in answered | true:
            tally[group] += (group in true, group in answered, group in true and group in answered)
    return _sorted(_named(g, int(t), float(both), float(p), float(t)) for g, (t, p, both) in tally.items())


def _named(label: str, samples: int, right: float, answered: float, true: float) -> ClassFigures:
    figures = {
        "precision": right / answered if answered else 0.0,
        "recall": right / true if true else 0.0,
        "f1": 2 * right / (answered + true) if answered + true else 0.0,
    }
    return ClassFigures(label, samples, figures)


def _sorted(classes: Iterable[ClassFigures]) -> tuple[ClassFigures, ...]:
    return tuple(sorted(classes, key=lambda one: (-one.samples, one.label)))
