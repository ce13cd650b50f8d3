"""Checks the gold labels of a set for values that are missing, out of range, or not labels of the set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectgpt.bench.predictions import Answers
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.errors import DataError, first_few
from affectgpt.metrics.labels import Mode, is_missing

PROBLEMS: Mapping[str, str] = {
    "gold_missing": "have no gold value",
    "gold_out_of_range": "have a gold score outside the set's range",
    "gold_unknown": "have a gold label that the set does not have",
}
"""The problems of gold values, and their wording."""

_REFUSED: Mapping[Mode, tuple[str, ...]] = {"official": (), "strict": ("gold_missing", "gold_out_of_range")}


@dataclass(frozen=True)
class CheckedGold:
    """The gold values of a set, checked for scoring.

    Attributes:
        values: The values in the order of the file; numbers for a sentiment set.
        problems: Problem, see ``PROBLEMS``, to the names of the samples that have it.
    """

    values: list[Any]
    problems: Mapping[str, list[str]]


def check_gold(test_set: TestSet, gold: Answers, mode: Mode) -> CheckedGold:
    """Check the gold values, and list their problems.

    Args:
        test_set: The set that the gold belongs to.
        gold: The gold, as it was read.
        mode: ``official`` scores missing and invalid values as the published code does, and lists them; ``strict``
            rejects missing values and scores out of range. Both list labels that the set does not have.

    Raises:
        DataError: If a value is of the wrong kind, or (``strict``) missing or out of range.
    """
    problems: dict[str, list[str]] = {name: [] for name in PROBLEMS}
    if test_set.task == "sentiment":
        values: list[Any] = [_score(gold, name) for name in gold.values]
        low, high = test_set.gold_range or (-math.inf, math.inf)
        for name, score in zip(gold.values, values, strict=True):
            if math.isnan(score):
                problems["gold_missing"].append(name)
            elif not low <= score <= high:
                problems["gold_out_of_range"].append(name)
    else:
        values = list(gold.values.values())
        for name, value in gold.values.items():
            _check_kind(test_set, gold, name, value)
            if test_set.task == "discrete" and (is_missing(value) or not value.strip()):
                problems["gold_missing"].append(name)
            elif test_set.labels and value.strip().lower() not in test_set.labels:
                problems["gold_unknown"].append(name)
    for kind in _REFUSED[mode]:
        if problems[kind]:
            ends = test_set.gold_range if kind == "gold_out_of_range" else None
            allowed = f" ({ends[0]:g} to {ends[1]:g})" if ends else ""
            raise DataError(
                f"{gold.source}: {len(problems[kind])} samples {PROBLEMS[kind]}{allowed}: {first_few(problems[kind])}; "
                "correct them, leave them out, or score them as published with mode 'official'"
            )
    return CheckedGold(values, problems)


def _score(gold: Answers, name: str) -> float:
    value = gold.values[name]
    try:
        return math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        raise DataError(f"{gold.source}, sample {name!r}: the gold score is {value!r}, which is not a number") from None


def _check_kind(test_set: TestSet, gold: Answers, name: str, value: Any) -> None:
    kinds = (str,) if test_set.task == "discrete" else (str, list, tuple)
    is_list_of_others = isinstance(value, (list, tuple)) and not all(isinstance(label, str) for label in value)
    if is_list_of_others or (not isinstance(value, kinds) and not is_missing(value)):
        wanted = "one label" if test_set.task == "discrete" else "a list of labels, each a text"
        raise DataError(f"{gold.source}, sample {name!r}: the gold label is {value!r}; expected {wanted}")
