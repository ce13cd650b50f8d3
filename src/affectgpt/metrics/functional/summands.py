"""The row that each sample adds to the figures of MER-UniBench, for resampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectgpt.metrics.functional.bootstrap import Floats, Summands
from affectgpt.metrics.functional.chance import group_columns, skill_of
from affectgpt.metrics.functional.hit_rate import hit_groups
from affectgpt.metrics.functional.overlap import count_overlap, overlap_of
from affectgpt.metrics.functional.per_sample import sample_scores_of
from affectgpt.metrics.functional.sentiment import ANSWERS, sentiment_cells, weighted_f1_of
from affectgpt.metrics.labels import check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, as_samples, check_wheel


def wheel_f1_summands(
    preds: Sequence[Any],
    target: Sequence[Any],
    wheel: EmotionWheel,
    level: int = 1,
    mode: str = "official",
    zero_division: float | None = None,
) -> Summands:
    """Per sample and wheel: precision, recall and whether the sample counts; the figure is ``f1``.

    For arguments and errors see ``emotion_wheel_score``.
    """
    known_mode = check_mode(mode)
    scores = sample_scores_of(
        count_overlap(as_samples(preds), as_samples(target), check_wheel(wheel), level, known_mode)
    )
    num_wheels = scores.keep.shape[1]

    def figure(sums: Floats) -> Floats:
        precision, recall, kept = _columns(sums, num_wheels)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision, recall = precision / kept, recall / kept
            f1 = 2 * precision * recall / (precision + recall)
        if zero_division is None:
            return _mean_over_wheels(f1, known_mode)
        f1 = np.where(precision + recall == 0, zero_division, f1)
        counts = ~np.isnan(f1)  # a wheel in which no sample counts has no figure, as in counts.mean_over_wheels
        with np.errstate(invalid="ignore"):
            mean: Floats = np.where(counts, f1, 0.0).sum(-1) / counts.sum(-1)
        return mean

    return Summands(_rows(scores.precision, scores.recall, scores.keep), figure)


def hit_rate_summands(
    preds: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, level: int = 1, mode: str = "official"
) -> Summands:
    """Per sample and wheel: the hits and whether the sample counts; the figure is ``hit_rate``.

    For arguments and errors see ``emotion_hit_rate``.
    """
    known_mode = check_mode(mode)
    scores = sample_scores_of(overlap_of(hit_groups(preds, target, check_wheel(wheel), level, known_mode)))
    num_wheels = scores.keep.shape[1]

    def figure(sums: Floats) -> Floats:
        hits, kept = _columns(sums, num_wheels)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _mean_over_wheels(hits / kept, known_mode)

    return Summands(_rows(scores.hits if known_mode == "official" else scores.hits > 0, scores.keep), figure)


def hit_skill_summands(
    preds: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, level: int = 1, mode: str = "official"
) -> Summands:
    """Per sample and wheel: the groups that answer and target name; the figure is ``hit_skill``.

    Chance is computed from each resample. For arguments and errors see ``emotion_hit_rate``.
    """
    known_mode = check_mode(mode)
    groups = hit_groups(preds, target, check_wheel(wheel), level, known_mode)
    overlap = overlap_of(groups)
    keep = overlap.num_target > 0
    shared = overlap.shared * keep
    parts = [
        np.hstack([shared[:, [w]], keep[:, [w]], *group_columns(groups, keep, w)]).astype(np.float64)
        for w in range(groups.target.num_wheels)
    ]
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]

    def figure(sums: Floats) -> Floats:
        skills = []
        for part in np.split(sums, ends, axis=-1):
            shared, kept = (torch.from_numpy(part[..., i].copy()).unsqueeze(-1) for i in (0, 1))
            totals = torch.from_numpy(part[..., 2:].copy()).unflatten(-1, (2, 1, -1))
            skills.append(skill_of(shared, kept, totals, known_mode))
        return torch.cat(skills, dim=-1).mean(-1).numpy()

    return Summands(np.hstack(parts), figure)


def weighted_f1_summands(preds: Sequence[str], target: Tensor | Sequence[float], mode: str = "official") -> Summands:
    """Per sample: its cell in the table of true sign and answer; the figure is ``weighted_f1``.

    For arguments and errors see ``sentiment_score``.
    """
    known_mode = check_mode(mode)
    num_cells = 3 * len(ANSWERS)
    rows = np.eye(num_cells)[sentiment_cells(preds, target, known_mode).numpy()]

    def figure(sums: Floats) -> Floats:
        tables = torch.from_numpy(np.ascontiguousarray(sums)).unflatten(-1, (3, len(ANSWERS)))
        found: Floats = weighted_f1_of(tables, known_mode)[0].numpy()
        return found

    return Summands(rows, figure)


def _rows(*parts: Tensor) -> Floats:
    rows: Floats = torch.cat([part.double() for part in parts], dim=1).numpy()
    return rows


def _columns(sums: Floats, num_wheels: int) -> list[Floats]:
    return [sums[..., start : start + num_wheels] for start in range(0, sums.shape[-1], num_wheels)]


def _mean_over_wheels(values: Floats, mode: str) -> Floats:
    # 0/0 is NaN as published, and 0 in mode strict; see counts.mean_scores.
    mean: Floats = (np.nan_to_num(values, nan=0.0) if mode == "strict" else values).mean(-1)
    return mean
