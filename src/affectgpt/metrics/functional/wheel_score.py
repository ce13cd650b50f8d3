"""The emotion-wheel score of open-vocabulary labels: precision, recall and F1 of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from affectgpt.metrics.functional.counts import Counts, describe, mean_over_wheels, mean_scores, sum_overlap
from affectgpt.metrics.functional.overlap import count_overlap
from affectgpt.metrics.labels import Mode, check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, as_samples, check_wheel


def emotion_wheel_score(
    preds: Sequence[Any],
    target: Sequence[Any],
    wheel: EmotionWheel,
    level: int = 1,
    mode: str = "official",
    zero_division: float | None = None,
) -> dict[str, Tensor]:
    """Score open-vocabulary labels as in MER-UniBench (Lian et al. 2025, section 4, for OV-MERD+).

    Per wheel, labels become sets of groups; precision is the share of predicted groups that are right, recall the share
    of true groups that are found. F1 is computed from their means over samples, and averaged over wheels.

    Args:
        preds: Per sample the predicted labels; a text goes through ``parse_labels``.
        target: Per sample the true labels.
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` drops labels without a group, skips a sample in a wheel where no true label has one, and
            gives NaN for 0/0. ``strict`` counts every predicted label, makes "neutral" and each word without a group a
            group of its own, skips nothing, and takes 0/0 as 0.
        zero_division: The F1 of a wheel whose precision and recall are both 0; the mode decides by default. A run that
            monitors the score needs 0: NaN ends a run with early stopping and never counts as the best epoch. Wheels in
            which no sample counts are then left out of the means, which are NaN only if there is no other wheel.

    Returns:
        float64 fractions ``f1``, ``precision``, ``recall``, ``sample_f1`` (mean of the samples' own F1), ``coverage``,
        ``f1_wheel1`` ...; int64 ``samples``, ``labels``, ``empty_predictions``, ``samples_wheel1`` ...

    Raises:
        ConfigError: If the wheel, the level or the mode does not exist.
        DataError: If the numbers of samples differ, or a label is not a text.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel
        >>> wheel = EmotionWheel.builtin()
        >>> score = emotion_wheel_score([["glad", "tearful"]], [["joyful"]], wheel)
        >>> round(float(score["precision"]), 2), round(float(score["recall"]), 2)
        (0.5, 1.0)
    """
    known_mode = check_mode(mode)
    overlap = count_overlap(as_samples(preds), as_samples(target), check_wheel(wheel), level, known_mode)
    return wheel_score_of(sum_overlap(overlap), known_mode, zero_division)


def wheel_score_of(counts: Counts, mode: Mode, zero_division: float | None = None) -> dict[str, Tensor]:
    """Compute the scores from summed counts; see ``emotion_wheel_score``."""
    means = mean_scores(counts, mode, zero_division)
    named = {"f1": means.f1, "precision": means.precision, "recall": means.recall, "sample_f1": means.sample_f1}
    per_wheel = {f"{name}_wheel{w}": value for name, values in named.items() for w, value in enumerate(values, start=1)}
    means_of = {name: mean_over_wheels(values, zero_division) for name, values in named.items()}
    return {**means_of, **describe(counts), **per_wheel}
