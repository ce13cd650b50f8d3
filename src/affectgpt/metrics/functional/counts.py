"""Sums the overlaps of many samples into integer counts, from which every score can be computed exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.metrics.functional.overlap import Overlap
from affectgpt.metrics.labels import Mode

MAX_SIZE = 512
"""Largest number of groups of a sample that the counts can hold, prediction and target together."""

TALLIES = ("kept", "hits", "shared", "skipped")
LABELS = ("samples", "labels", "known_labels", "target_labels", "known_target_labels", "empty_predictions")


@dataclass(frozen=True)
class Counts:
    """Integer sums over samples; the sum of two is the counts of all their samples.

    Precision, recall and F1 of one sample are fractions with a small denominator (the size of a set), so shared groups
    are summed per denominator. Integer sums do not depend on the order of the samples or on their division among ranks.

    Attributes:
        by_size: int64 ``[3, W, MAX_SIZE + 1]``: sum of the shared groups of the samples whose denominator is the last
            index; the denominators are the size of the predicted set, that of the true set, and the sum of both.
        tallies: int64 ``[W, 4]``, see ``TALLIES``: samples that count in the wheel, samples with a shared group, shared
            groups, and samples that the wheel skips because it has no group for any of their true labels.
        labels: int64 ``[6]``, see ``LABELS``.
    """

    by_size: Tensor
    tallies: Tensor
    labels: Tensor


def sum_overlap(overlap: Overlap) -> Counts:
    """Sum the samples of an overlap.

    Raises:
        DataError: If a sample has more than ``MAX_SIZE`` distinct groups.
    """
    keep = overlap.num_target > 0
    shared = np.where(keep, overlap.shared, 0)
    sizes = [overlap.num_pred, overlap.num_target, overlap.num_pred + overlap.num_target]
    if sizes[2].size and sizes[2].max() > MAX_SIZE:
        sample = int(sizes[2].max(axis=1).argmax())
        raise DataError(
            f"sample {sample} has {sizes[2].max()} distinct groups of labels; at most {MAX_SIZE} can be scored. Check "
            "that it is a list of labels"
        )
    num_wheels = shared.shape[1]
    by_size = [
        [np.bincount(size[:, w], weights=shared[:, w], minlength=MAX_SIZE + 1) for w in range(num_wheels)]
        for size in sizes
    ]
    tallies = np.stack([keep.sum(0), (shared > 0).sum(0), shared.sum(0), (~keep).sum(0)], axis=1)
    labels = [len(shared), *overlap.label_counts, overlap.num_empty]
    return Counts(
        torch.from_numpy(np.array(by_size).astype(np.int64)),
        torch.from_numpy(tallies.astype(np.int64)),
        torch.tensor(labels, dtype=torch.int64),
    )


@dataclass(frozen=True)
class Means:
    """Per wheel, float64 ``[W]``: mean precision, recall and F1 of the samples, share of hits, mean number of hits."""

    precision: Tensor
    recall: Tensor
    f1: Tensor
    sample_f1: Tensor
    any_hit: Tensor
    num_hits: Tensor


def mean_scores(counts: Counts, mode: Mode, zero_division: float | None = None) -> Means:
    """The means over the samples that count in each wheel.

    A wheel in which no sample counts has the score NaN in mode ``official`` and 0 in mode ``strict``.

    Args:
        counts: The summed counts.
        mode: ``official`` or ``strict``.
        zero_division: The F1 of a wheel whose precision and recall are both 0; by default NaN in mode ``official``
            (0/0, as published) and 0 in mode ``strict``.
    """
    # sum_i shared_i / size_i = sum_d (sum of shared_i over samples i with size_i = d) / d: one division per size d, so
    # the order of the samples does not matter. F1_i = 2 shared_i / (predicted_i + true_i), so the third table, by
    # predicted + true, gives half of it.
    denominators = torch.arange(MAX_SIZE + 1, dtype=torch.float64, device=counts.by_size.device).clamp(min=1)
    kept = counts.tallies[:, 0].double()
    precision, recall, half_f1 = ((sums / denominators).sum(-1) / kept for sums in counts.by_size.double())
    f1 = 2 * precision * recall / (precision + recall)
    if zero_division is not None:
        f1 = torch.where(precision + recall == 0, zero_division, f1)  # a wheel without samples stays NaN
    any_hit, num_hits = counts.tallies[:, 1] / kept, counts.tallies[:, 2] / kept
    values = [precision, recall, f1, 2 * half_f1, any_hit, num_hits]
    return Means(*(v.nan_to_num(0.0) if mode == "strict" else v for v in values))


def mean_over_wheels(values: Tensor, zero_division: float | None = None) -> Tensor:
    """Mean over the wheels of a figure, float64 ``[W]``.

    Args:
        values: NaN in a wheel without a figure.
        zero_division: If given, wheels without a figure are left out of the mean; by default the mean is then NaN, as
            published.
    """
    return values.mean() if zero_division is None else values.nanmean()


def describe(counts: Counts) -> Mapping[str, Tensor]:
    """The counts that accompany every score: coverage, numbers of samples and labels, samples per wheel."""
    named = dict(zip(LABELS, counts.labels, strict=True))
    coverage = named["known_labels"].double() / named["labels"]
    target_coverage = named["known_target_labels"].double() / named["target_labels"]
    per_wheel = {f"samples_wheel{w}": row[0] for w, row in enumerate(counts.tallies, start=1)}
    return {
        "coverage": coverage.nan_to_num(0.0),
        "target_coverage": target_coverage.nan_to_num(0.0),
        "samples": named["samples"],
        "labels": named["labels"],
        "empty_predictions": named["empty_predictions"],
        **per_wheel,
    }
