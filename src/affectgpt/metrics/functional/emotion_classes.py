"""One of several emotions per sample, such as Track 1 of MER2026: weighted F1 and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.metrics.functional.bootstrap import Floats, Summands
from affectgpt.metrics.functional.class_table import table_scores
from affectgpt.metrics.labels import Mode, check_mode, is_missing
from affectgpt.metrics.wheel.emotion_wheel import as_samples
from affectgpt.text import clean_label

MER_CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
"""The six emotions of MER2023 to MER2026, in the order of their published code."""


def emotion_class_score(
    preds: Sequence[str | None],
    target: Sequence[str],
    classes: Sequence[str] = MER_CLASSES,
    mode: str = "official",
) -> dict[str, Tensor]:
    """Score one emotion per sample (Track 1 of MER2026: weighted F1 of six emotions).

    Args:
        preds: One of the classes per sample.
        target: One of the classes per sample.
        classes: The emotions.
        mode: ``official`` compares the words exactly and rejects any other answer, as the published code does.
            ``strict`` ignores case and surrounding spaces, and counts any other answer, and a missing one, as wrong.

    Returns:
        float64 ``weighted_f1`` (F1 of the classes, weighted by their true share), ``accuracy``, ``macro_f1`` (mean F1
        of the classes that occur in the target), and ``f1_CLASS`` of each class; int64 ``samples``,
        ``unknown_answers``.

    Raises:
        ConfigError: If the mode is unknown, or ``classes`` has fewer than two different words.
        DataError: If lengths differ, a target is not a class, or (``official``) an answer is not.

    Examples:
        >>> score = emotion_class_score(["happy", "sad", "sad"], ["happy", "sad", "worried"])
        >>> round(float(score["weighted_f1"]), 3), round(float(score["accuracy"]), 3)
        (0.556, 0.667)
    """
    known_mode = check_mode(mode)
    return emotion_class_score_of(emotion_class_counts(preds, target, classes, known_mode), classes)


def emotion_class_summands(
    preds: Sequence[str | None],
    target: Sequence[str],
    classes: Sequence[str] = MER_CLASSES,
    mode: str = "official",
) -> Summands:
    """Each sample as one cell of the table of true class by answer; the figure is ``weighted_f1``.

    Arguments and errors: ``emotion_class_score``.
    """
    cells = _cells(preds, target, classes, check_mode(mode))
    shape = (len(classes), len(classes) + 1)

    def figure(sums: Floats) -> Floats:
        found: Floats = table_scores(torch.from_numpy(np.ascontiguousarray(sums)).unflatten(-1, shape))[0].numpy()
        return found

    return Summands(np.eye(shape[0] * shape[1])[cells.numpy()], figure)


def emotion_class_counts(
    preds: Sequence[str | None], target: Sequence[str], classes: Sequence[str], mode: Mode
) -> Tensor:
    """Samples by true class and answer, int64 ``[C, C + 1]`` on the CPU; the last column is any other answer.

    Raises:
        ConfigError: If ``classes`` has fewer than two different words.
        DataError: If lengths differ, a target is not a class, or (``official``) an answer is not.
    """
    num_classes = len(classes)
    cells = _cells(preds, target, classes, mode)
    return torch.bincount(cells, minlength=num_classes * (num_classes + 1)).reshape(num_classes, num_classes + 1)


def emotion_class_score_of(counts: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
    """The scores that follow from summed counts; see ``emotion_class_score``."""
    table = counts.double()
    num_classes = len(classes)
    weighted_f1, accuracy = table_scores(table)
    right, support = table[:, :num_classes].diagonal(), table.sum(1)
    f1 = (2 * right / (support + table[:, :num_classes].sum(0))).nan_to_num(0.0)
    occurs = support > 0
    return {
        "weighted_f1": weighted_f1,
        "accuracy": accuracy,
        "macro_f1": f1[occurs].mean() if bool(occurs.any()) else f1.new_tensor(0.0),
        **{f"f1_{name}": value for name, value in zip(classes, f1, strict=True)},
        "samples": counts.sum(),
        "unknown_answers": counts[:, -1].sum(),
    }


def _number(value: Any, number: dict[str, int], mode: Mode) -> int:
    """The number of a class; -1 for anything else."""
    if is_missing(value) or not isinstance(value, str):
        return -1
    return number.get(value if mode == "official" else clean_label(value).lower(), -1)


def _cells(preds: Sequence[str | None], target: Sequence[str], classes: Sequence[str], mode: Mode) -> Tensor:
    """The cell of that table into which each sample falls, row by row, int64 ``[N]`` on the CPU."""
    if len(set(classes)) != len(classes) or not classes:
        raise ConfigError(f"classes are {list(classes)!r}; give different words")
    if len(preds) != len(target):
        raise DataError(f"{len(preds)} predictions, but {len(target)} targets; pass one of each per sample")
    number = {name: i for i, name in enumerate(classes)}
    gold = [_number(value, number, mode) for value in as_samples(target)]
    given = [_number(value, number, mode) for value in as_samples(preds)]
    for what, values, found in (("target", target, gold), ("prediction", preds, given)):
        unknown = dict.fromkeys(repr(v) for v, n in zip(values, found, strict=True) if n < 0)
        if unknown and (what == "target" or mode == "official"):
            advice = "" if what == "target" else "; mode 'strict' counts them as wrong"
            raise DataError(f"a {what} must be one of {', '.join(classes)}, but is {first_few(unknown)}{advice}")
    num_classes = len(classes)
    answers = torch.tensor([n if n >= 0 else num_classes for n in given], dtype=torch.int64)
    return torch.tensor(gold, dtype=torch.int64) * (num_classes + 1) + answers
