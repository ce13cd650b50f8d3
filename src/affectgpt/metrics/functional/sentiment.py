"""Positive against negative: weighted F1 and accuracy of sentiment answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.metrics.functional.class_table import table_scores
from affectgpt.metrics.labels import Mode, check_mode
from affectgpt.metrics.wheel.emotion_wheel import as_samples
from affectgpt.text import clean_label, clean_name

ANSWERS = ("negative", "neutral", "positive", "other")
"""The kinds of answers; the true sign is one of the first three."""

_NEGATIVE, _NEUTRAL, _POSITIVE, _OTHER = range(4)


def sentiment_score(
    preds: Sequence[str], target: Tensor | Sequence[float], mode: str = "official"
) -> dict[str, Tensor]:
    """Score sentiment answers against scores (CMU-MOSI, CMU-MOSEI, CH-SIMS, CH-SIMS v2 in MER-UniBench).

    Samples whose true score is 0 are left out; for the others the sign counts.

    Args:
        preds: "positive", "negative" or "neutral" per sample.
        target: True scores, float ``[N]``; any range, only the sign counts.
        mode: ``official`` counts every answer but exactly "positive" as negative (also neutral, unknown and capitalised
            ones), and a NaN target as not positive. ``strict`` ignores case and a final full stop, counts neutral and
            unknown answers as wrong, and refuses NaN.

    Returns:
        float64 ``weighted_f1`` (F1 of both classes, weighted by their true share), ``accuracy``, ``weighted_f1_3way``,
        ``accuracy_3way`` (with neutral targets as a third class); int64 ``samples``, ``dropped`` (true score 0),
        ``neutral_answers``, ``unknown_answers``.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If the lengths differ, or (``official``) every true score is 0, or (``strict``) one is NaN.

    Examples:
        >>> score = sentiment_score(["positive", "neutral", "negative"], [0.8, -0.4, 0.0])
        >>> float(score["accuracy"]), int(score["dropped"])
        (1.0, 1)
        >>> float(sentiment_score(["positive", "neutral"], [0.8, -0.4], mode="strict")["accuracy"])
        0.5
    """
    known_mode = check_mode(mode)
    return sentiment_of(sentiment_counts(preds, target, known_mode), known_mode)


def sentiment_counts(preds: Sequence[str], target: Tensor | Sequence[float], mode: Mode) -> Tensor:
    """Count samples by true sign (negative, zero, positive) and answer (see ``ANSWERS``), int64 ``[3, 4]`` on the CPU.

    Raises:
        DataError: If the lengths differ, an answer is not a text, or (``strict``) a target is NaN.
    """
    return sentiment_counts_of(sentiment_cells(preds, target, mode))


def sentiment_counts_of(cells: Tensor) -> Tensor:
    """Count samples by true sign and answer, int64 ``[3, 4]`` on the CPU, from their cells, int64 ``[N]``.

    Raises:
        DataError: If the cells are not whole numbers from 0 to 11.
    """
    cells = cells.cpu()
    if cells.ndim != 1 or cells.is_floating_point() or not bool(((cells >= 0) & (cells < 3 * len(ANSWERS))).all()):
        raise DataError(
            f"one argument is {cells.dtype} {list(cells.shape)}; pass predictions and true scores, or the result of "
            "encode made of both"
        )
    return torch.bincount(cells, minlength=3 * len(ANSWERS)).reshape(3, len(ANSWERS))


def sentiment_cells(preds: Sequence[str], target: Tensor | Sequence[float], mode: Mode) -> Tensor:
    """Each sample's cell in that table, numbered row by row, int64 ``[N]`` on the CPU.

    Raises:
        DataError: If the lengths differ, an answer is not a text, or (``strict``) a target is NaN.
    """
    gold = _scores(target)
    given: object = preds
    if isinstance(given, Tensor):
        raise DataError(f"predictions are a tensor of {given.dtype}; expected positive, negative or neutral per sample")
    answers = [_answer(text, mode, i) for i, text in enumerate(as_samples(preds))]
    if len(answers) != len(gold):
        raise DataError(f"{len(answers)} predictions, but {len(gold)} targets; pass one of each per sample")
    if mode == "strict" and bool(gold.isnan().any()):
        raise DataError(f"target {int(gold.isnan().nonzero()[0])} is NaN; leave the sample out, or correct its score")
    # NaN is neither 0 nor positive, and so counts as negative, as published.
    sign = torch.where(gold > 0, _POSITIVE, torch.where(gold == 0, _NEUTRAL, _NEGATIVE))
    return sign * len(ANSWERS) + torch.tensor(answers, dtype=torch.int64)


def sentiment_of(counts: Tensor, mode: Mode) -> dict[str, Tensor]:
    """Compute the scores from summed counts; see ``sentiment_score``.

    Raises:
        DataError: If (``official``) every true score is 0.
    """
    if mode == "official" and not bool(counts[[_NEGATIVE, _POSITIVE]].sum() > 0):
        raise DataError("every true score is 0, so there is nothing to score; the published code fails here too")
    weighted_f1, accuracy = weighted_f1_of(counts.double(), mode)
    weighted_f1_3way, accuracy_3way = table_scores(counts.double())
    return {
        "weighted_f1": weighted_f1,
        "accuracy": accuracy,
        "weighted_f1_3way": weighted_f1_3way,
        "accuracy_3way": accuracy_3way,
        "samples": counts[[_NEGATIVE, _POSITIVE]].sum(),
        "dropped": counts[_NEUTRAL].sum(),
        "neutral_answers": counts[:, _NEUTRAL].sum(),
        "unknown_answers": counts[:, _OTHER].sum(),
    }


def _scores(target: Any) -> Tensor:
    """The true scores, float64 ``[N]`` on the CPU.

    Raises:
        DataError: If they are anything but numbers.
    """
    try:
        return torch.as_tensor(target, dtype=torch.float64).detach().cpu().flatten()
    except (TypeError, ValueError, RuntimeError) as error:
        values = [target] if isinstance(target, str) else list(target)
        wrong = next((value for value in values if isinstance(value, str) or value is None), values[0])
        raise DataError(
            f"a target is {wrong!r}; the sentiment score takes true scores as numbers, whose sign counts (below 0 "
            "negative, 0 neutral, above 0 positive); only predictions are words"
        ) from error


def _answer(text: object, mode: Mode, position: int) -> int:
    if not isinstance(text, str):
        if mode == "strict" and text is None:
            return _OTHER
        if mode == "strict":
            raise DataError(f"prediction {position} is {text!r}; expected positive, negative or neutral")
        return _OTHER
    if not text.isascii():
        text = clean_label(text) if mode == "strict" else clean_name(text)
    plain = text.strip(" \t\n.'\"[]").lower() if mode == "strict" else text
    return ANSWERS.index(plain) if plain in ANSWERS[:3] else _OTHER


def weighted_f1_of(counts: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Weighted F1 and accuracy of positive against negative from counts ``[..., 3, 4]``, float64 ``[...]`` each."""
    signed = counts[..., [_NEGATIVE, _POSITIVE], :]
    negative, positive = signed[..., _NEGATIVE], signed[..., _POSITIVE]
    undecided = signed[..., [_NEUTRAL, _OTHER]].sum(-1)
    if mode == "official":
        # Everything that is not "positive" counts as negative.
        return table_scores(torch.stack([negative + undecided, positive], dim=-1))
    return table_scores(torch.stack([negative, positive, undecided], dim=-1))
