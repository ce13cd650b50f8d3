"""The hit rate of open-vocabulary answers against one true label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.metrics.functional.chance import group_totals, skill_of
from affectgpt.metrics.functional.counts import TALLIES, Counts, describe, mean_over_wheels, mean_scores, sum_overlap
from affectgpt.metrics.functional.groups import Groups, label_groups
from affectgpt.metrics.functional.label_ids import all_texts
from affectgpt.metrics.functional.overlap import overlap_of
from affectgpt.metrics.labels import Mode, check_mode, is_missing
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, as_samples, check_wheel


def emotion_hit_rate(
    preds: Sequence[Any],
    target: Sequence[str],
    wheel: EmotionWheel,
    level: int = 1,
    mode: str = "official",
    zero_division: float | None = None,
) -> dict[str, Tensor]:
    """How often an answer names the group of the true label (MER2023, MER2024, MELD, IEMOCAP in MER-UniBench).

    The hit rate does not penalise long answers, so that a model which gives the same seven words for every clip looks
    good. Two more figures are stricter: ``hit_skill`` subtracts the hits that the same answers score on shuffled
    targets, and is 0 if the answer is the same for every sample (``functional.chance`` has the formula); ``hit_f1`` is
    the mean over samples of ``2 * shared / (predicted + true groups)``.

    Args:
        preds: Per sample the predicted labels; a text goes through ``parse_labels``.
        target: One label per sample.
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` skips a sample in a wheel without a group for its true label (all wheels for "neutral"), and
            counts every shared group of a target such as "happy, sad". ``strict`` skips nothing, makes "neutral" a
            group of its own, and counts at most one hit per sample.
        zero_division: If given (a monitored run gives 0), wheels in which no sample counts are left out of the means;
            by default one such wheel makes them NaN, as published.

    Returns:
        float64 fractions ``hit_rate``, ``hit_skill`` (-1 to 1), ``precision``, ``hit_f1``, ``coverage``,
        ``hit_rate_wheel1`` ..., ``hit_skill_wheel1`` ...; int64 ``samples``, ``labels``, ``empty_predictions``,
        ``samples_wheel1`` ...

    Raises:
        ConfigError: If the wheel, the level or the mode does not exist.
        DataError: If the numbers of samples differ, or a target is not one text.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel
        >>> wheel = EmotionWheel.builtin()
        >>> score = emotion_hit_rate([["glad", "tearful"], ["calm"]], ["joy", "anger"], wheel)
        >>> float(score["hit_rate"])
        0.5
    """
    counts, totals = hit_counts(preds, target, check_wheel(wheel), level, check_mode(mode))
    return hit_rate_of(counts, totals, check_mode(mode), zero_division)


def hit_counts(
    preds: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, level: int, mode: Mode
) -> tuple[Counts, Tensor]:
    """The summed counts behind the hit rate, and the totals per group behind its skill; see ``emotion_hit_rate``."""
    groups = hit_groups(preds, target, wheel, level, mode)
    overlap = overlap_of(groups)
    return sum_overlap(overlap), group_totals(groups, overlap.num_target > 0)


def hit_groups(preds: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, level: int, mode: Mode) -> Groups:
    """The groups of the answers and of the one true label, per sample and wheel; see ``emotion_hit_rate``.

    Raises:
        DataError: If the numbers of samples differ, or a target is not one text.
    """
    labels: Sequence[Any] = as_samples(target)
    for position, label in enumerate(() if all_texts(labels) else labels):
        if not isinstance(label, str) and not (mode == "official" and is_missing(label)):
            raise DataError(
                f"target {position} is {label!r} ({type(label).__name__}); the hit rate takes one label per sample. "
                "For lists of true labels use the wheel score"
            )
    return label_groups(as_samples(preds), target, wheel, level, mode)


def hit_rate_of(counts: Counts, totals: Tensor, mode: Mode, zero_division: float | None = None) -> dict[str, Tensor]:
    """Compute the scores from summed counts; see ``emotion_hit_rate``."""
    means = mean_scores(counts, mode, zero_division)
    hits = means.num_hits if mode == "official" else means.any_hit
    skill = skill_of(counts.tallies[:, TALLIES.index("shared")], counts.tallies[:, 0], totals, mode)
    named = {"hit_rate": hits, "hit_skill": skill}
    per_wheel = {f"{name}_wheel{w}": value for name, values in named.items() for w, value in enumerate(values, start=1)}
    whole = {**named, "precision": means.precision, "hit_f1": means.sample_f1}
    scores = {name: mean_over_wheels(values, zero_division) for name, values in whole.items()}
    return {**scores, **describe(counts), **per_wheel}
