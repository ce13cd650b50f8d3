"""The hit rate of open-vocabulary answers against one true label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.metrics.functional.counts import Counts, describe, mean_scores, sum_overlap
from affectgpt.metrics.functional.overlap import Overlap, count_overlap
from affectgpt.metrics.labels import Mode, check_mode, is_missing
from affectgpt.metrics.wheel import EmotionWheel, as_samples, check_wheel


def emotion_hit_rate(
    preds: Sequence[Any],
    target: Sequence[str],
    wheel: EmotionWheel,
    level: int = 1,
    mode: str = "official",
) -> dict[str, Tensor]:
    """How often an answer names the group of the true label (MER2023, MER2024, MELD, IEMOCAP in MER-UniBench).

    Long answers are not punished by the hit rate, so that the same seven words for every clip can pass for a good
    model. ``precision`` and ``hit_f1`` beside it are: ``hit_f1`` is the mean over samples of
    ``2 * shared / (predicted + true groups)``.

    Args:
        preds: Per sample the predicted labels; a text goes through ``parse_labels``.
        target: One label per sample.
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` skips a sample in a wheel that cannot place its true label ("neutral" in all of them), and
            counts every shared group of a target such as "happy, sad". ``strict`` skips nothing, "neutral" is a group
            of its own, and a sample is hit or not.

    Returns:
        float64 fractions ``hit_rate``, ``precision``, ``hit_f1``, ``coverage``, ``hit_rate_wheel1`` ...; int64
        ``samples``, ``labels``, ``empty_predictions``, ``samples_wheel1`` ...

    Raises:
        ConfigError: If wheel, level or mode do not exist.
        DataError: If numbers of samples differ, or a target is not one text.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel
        >>> wheel = EmotionWheel.builtin()
        >>> score = emotion_hit_rate([["glad", "tearful"], ["calm"]], ["joy", "anger"], wheel)
        >>> float(score["hit_rate"])
        0.5
    """
    counts = hit_counts(preds, target, check_wheel(wheel), level, check_mode(mode))
    return hit_rate_of(counts, check_mode(mode))


def hit_counts(preds: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, level: int, mode: Mode) -> Counts:
    """The summed counts behind the hit rate; see ``emotion_hit_rate``."""
    return sum_overlap(hit_overlap(preds, target, wheel, level, mode))


def hit_overlap(preds: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, level: int, mode: Mode) -> Overlap:
    """Shared groups of the answers and the one true label, per sample and wheel; see ``emotion_hit_rate``."""
    for position, label in enumerate(as_samples(target)):
        if not isinstance(label, str) and not (mode == "official" and is_missing(label)):
            raise DataError(
                f"target {position} is {label!r} ({type(label).__name__}); the hit rate takes one label per sample. "
                "For lists of true labels use the wheel score"
            )
    return count_overlap(as_samples(preds), target, wheel, level, mode)


def hit_rate_of(counts: Counts, mode: Mode) -> dict[str, Tensor]:
    """The scores that follow from summed counts; see ``emotion_hit_rate``."""
    means = mean_scores(counts, mode)
    hits = means.num_hits if mode == "official" else means.any_hit
    per_wheel = {f"hit_rate_wheel{w}": value for w, value in enumerate(hits, start=1)}
    scores = {"hit_rate": hits.mean(), "precision": means.precision.mean(), "hit_f1": means.sample_f1.mean()}
    return {**scores, **describe(counts), **per_wheel}
