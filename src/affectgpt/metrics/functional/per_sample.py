"""Scores of single samples, for error analysis and rewards, and the words that a vocabulary lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from affectgpt.metrics.functional.overlap import Overlap, count_overlap
from affectgpt.metrics.labels import check_mode, parse_labels
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL, EmotionWheel, as_samples, check_wheel
from affectgpt.text import clean_label


@dataclass(frozen=True)
class SampleScores:
    """Scores of N samples in W wheels, ``[N, W]`` each.

    Attributes:
        precision: float64, 0 if nothing is predicted.
        recall: float64.
        f1: float64.
        hits: int64, shared groups.
        keep: Bool, ``True`` where the sample counts in the wheel; elsewhere the scores are 0.
    """

    precision: Tensor
    recall: Tensor
    f1: Tensor
    hits: Tensor
    keep: Tensor

    def mean_over_wheels(self) -> dict[str, Tensor]:
        """Each sample's means over the wheels in which it counts, float64 ``[N]``; NaN if it counts in none."""
        num_kept = self.keep.sum(1)
        named = {"precision": self.precision, "recall": self.recall, "f1": self.f1, "hits": self.hits.double()}
        return {name: values.sum(1) / num_kept for name, values in named.items()}


def emotion_sample_scores(
    preds: Sequence[Any],
    target: Sequence[Any],
    wheel: EmotionWheel,
    level: int = 1,
    mode: str = "official",
    groupings: Sequence[str] | None = None,
) -> SampleScores:
    """Score each sample on its own.

    Args:
        preds: Per sample the predicted labels.
        target: Per sample the true labels, or the one true label.
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` or ``strict``, see ``emotion_wheel_score``.
        groupings: Keys of ``wheel.groupings`` (such as ``case1``) instead of the wheels of ``level``.

    Raises:
        ConfigError: If the wheel, the level or the mode does not exist.
        DataError: If the numbers of samples differ, or a label is not a text.
    """
    return sample_scores_of(
        count_overlap(as_samples(preds), as_samples(target), check_wheel(wheel), level, check_mode(mode), groupings)
    )


def sample_scores_of(overlap: Overlap) -> SampleScores:
    """Compute the scores from the sizes of the samples' group sets; see ``emotion_sample_scores``."""
    keep = torch.from_numpy(overlap.num_target > 0)
    shared = torch.from_numpy(overlap.shared) * keep
    num_pred, num_target = torch.from_numpy(overlap.num_pred), torch.from_numpy(overlap.num_target)
    return SampleScores(
        precision=shared.double() / num_pred.clamp(min=1),
        recall=shared.double() / num_target.clamp(min=1),
        f1=2 * shared.double() / (num_pred + num_target).clamp(min=1),
        hits=shared,
        keep=keep,
    )


def label_words(answers: Sequence[Any], mode: str = "official") -> Counter[str]:
    """The labels of all answers, in lower case, with their counts.

    Args:
        answers: Per sample a list of labels, or a text for ``parse_labels``.
        mode: ``official`` or ``strict``; decides how a text is read.
    """
    known_mode = check_mode(mode)
    return Counter(
        clean_label(label).lower()
        for answer in as_samples(answers)
        for label in (answer if isinstance(answer, (list, tuple)) else parse_labels(answer, mode=known_mode))
    )


def unseen_words(answers: Sequence[Any], wheel: EmotionWheel, mode: str = "official") -> Counter[str]:
    """The labels that are not in the vocabulary, in lower case, with their counts.

    Args:
        answers: Per sample a list of labels, or a text for ``parse_labels``.
        wheel: The vocabulary.
        mode: ``official`` or ``strict``; strict knows "neutral", and treats hyphens and spaces as equal.
    """
    strict = check_mode(mode) == "strict"
    counts = label_words(answers, mode)
    unseen = {w: n for w, n in counts.items() if wheel.find(w, fold=strict) is None and not (strict and w == NEUTRAL)}
    return Counter(unseen)
