"""Accuracy, F1 of classes and of sets of labels, and correlations, as scikit-learn and SciPy define them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt


def class_figures(gold: Sequence[str], predicted: Sequence[str | None]) -> dict[str, float]:
    """Accuracy, weighted F1 and precision (by the classes' shares of the gold), and macro F1.

    ``None`` predicts no class: it is wrong, but it is not a false positive of any class. Macro F1 is over every class
    of gold and predictions. Without samples all are NaN.

    Examples:
        >>> class_figures(["a", "a", "b"], ["a", "b", "b"])["accuracy"]
        0.6666666666666666
    """
    if not gold:
        return dict.fromkeys(("accuracy", "weighted_f1", "weighted_precision", "macro_f1"), math.nan)
    support, guessed = Counter(gold), Counter(one for one in predicted if one is not None)
    hits = Counter(g for g, p in zip(gold, predicted, strict=True) if g == p)
    classes = sorted({*support, *guessed})
    f1 = {one: 2 * hits[one] / (support[one] + guessed[one]) for one in classes}
    precision = {one: hits[one] / guessed[one] if guessed[one] else 0.0 for one in classes}
    total = len(gold)
    return {
        "accuracy": sum(hits.values()) / total,
        "weighted_f1": sum(f1[one] * support[one] for one in classes) / total,
        "weighted_precision": sum(precision[one] * support[one] for one in classes) / total,
        "macro_f1": sum(f1.values()) / len(classes),
    }


def set_figures(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Sequence[str]
) -> dict[str, float]:
    """Micro and macro F1 over labels, micro precision and recall, and the share of equal sets; NaN without samples."""
    if not gold:
        return dict.fromkeys(("micro_f1", "macro_f1", "micro_precision", "micro_recall", "exact_match"), math.nan)
    pairs = [(set(g), set(p)) for g, p in zip(gold, predicted, strict=True)]
    hits = Counter(label for g, p in pairs for label in g & p)
    support = Counter(label for g, _ in pairs for label in g)
    guessed = Counter(label for _, p in pairs for label in p)
    hit, true, said = (sum(count[label] for label in labels) for count in (hits, support, guessed))
    per_label = [_ratio(2 * hits[label], support[label] + guessed[label]) for label in labels]
    return {
        "micro_f1": _ratio(2 * hit, true + said),
        "macro_f1": sum(per_label) / len(labels),
        "micro_precision": _ratio(hit, said),
        "micro_recall": _ratio(hit, true),
        "exact_match": sum(g == p for g, p in pairs) / len(pairs),
    }


def pearson(first: Sequence[float], second: Sequence[float]) -> float:
    """Linear correlation (PLCC); NaN for fewer than two samples, or if one side is constant.

    Examples:
        >>> round(pearson([1, 2, 3], [2, 4, 7]), 4)
        0.9934
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / math.sqrt((x @ x) * (y @ y)))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Rank correlation (SRCC); equal values share the mean of their ranks."""
    return pearson(_ranks(first).tolist(), _ranks(second).tolist())


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    array = np.asarray(values, float)
    if not len(array):
        return array
    _, rank, count = np.unique(array, return_inverse=True, return_counts=True)
    last: npt.NDArray[np.float64] = np.cumsum(count).astype(float)
    shared: npt.NDArray[np.float64] = (last - (count - 1) / 2)[rank]
    return shared


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
