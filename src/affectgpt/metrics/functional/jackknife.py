"""Standard errors of figures by leaving out one sample, or one cluster of samples, at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from affectgpt.errors import DataError
from affectgpt.metrics.functional.bootstrap import Summands


def jackknife_error(summands: Summands, clusters: Sequence[Hashable] | None = None) -> float:
    """The delete-one jackknife standard error of a figure (Efron & Tibshirani 1993, section 11.3).

    Clips of one speaker or dialogue resemble each other, so a set carries less information than its number of clips
    suggests. With clusters, one cluster is left out at a time (the delete-a-group jackknife); each figure is recomputed
    from the sums, so a corpus F1 stays a corpus F1. For a plain mean and clusters of one sample the error is the
    standard deviation over the square root of the number of samples.

    Args:
        summands: From ``wheel_f1_summands``, ``hit_rate_summands`` or ``weighted_f1_summands``.
        clusters: Each sample's cluster, in the order of the samples; by default every sample is its own.

    Returns:
        The error, a fraction like the figure; NaN if fewer than two figures are defined.

    Raises:
        DataError: If there are no samples, or the numbers of samples and clusters differ.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel
        >>> from affectgpt.metrics.functional import hit_rate_summands
        >>> half = hit_rate_summands([["glad"], ["angry"]] * 50, ["joy"] * 100, EmotionWheel.builtin())
        >>> round(jackknife_error(half), 6)
        0.050252
        >>> round(jackknife_error(half, [number // 50 for number in range(100)]), 6)  # both halves have the same score
        0.0
    """
    rows = summands.rows
    if not len(rows):
        raise DataError("there are no samples to leave out; score at least one")
    numbers = np.arange(len(rows))
    if clusters is not None:
        if len(clusters) != len(rows):
            raise DataError(f"{len(rows)} samples, but {len(clusters)} clusters; name the cluster of each sample")
        known = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
        numbers = np.array([known[cluster] for cluster in clusters])
    sums = np.zeros((numbers.max() + 1, rows.shape[1]))
    np.add.at(sums, numbers, rows)
    left = summands.figure(rows.sum(0) - sums)
    left = left[~np.isnan(left)]
    if len(left) < 2:
        return float("nan")
    return float(np.sqrt((len(left) - 1) * left.var()))
