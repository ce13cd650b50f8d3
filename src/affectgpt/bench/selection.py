"""Chooses one of several checkpoints, by a rule that is part of the result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectgpt.bench.prediction_search import natural_order
from affectgpt.bench.system_result import HonestChoice, Selection
from affectgpt.datamodules.unibench.sets import TEST_SETS
from affectgpt.errors import ConfigError, DataError

RULES: Mapping[str, str] = {
    "last": "last",
    "best-on-validation": "best on validation",
    "official": "best on the test set",
}
"""The rules, with what each chooses; ``official`` is optimistic."""

Validation = Mapping[str, Mapping[str, float]]
"""Set name to checkpoint to validation score; the set ``""`` stands for all sets."""


def check_rule(rule: str, validation: Validation | None) -> str:
    """Check that the rule exists and has the scores that it needs.

    Raises:
        ConfigError: If the rule is unknown, or needs validation scores that are missing.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown selection rule {rule!r}; known: {', '.join(RULES)}")
    if rule == "best-on-validation" and validation is None:
        raise ConfigError("the rule best-on-validation needs validation scores: a JSON file of checkpoint to score")
    return rule


def read_validation(path: str | os.PathLike[str]) -> Validation:
    """Read validation scores: JSON of checkpoint to score, or of set to checkpoint to score; higher is better.

    Raises:
        DataError: If the file is missing or holds anything else.
    """
    try:
        loaded = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; expected the validation scores") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    by_set = loaded if isinstance(loaded, dict) and set(loaded) <= set(TEST_SETS) and loaded else {"": loaded}
    for scores in by_set.values():
        if not isinstance(scores, dict) or not scores or not all(_is_score(value) for value in scores.values()):
            raise DataError(
                f"{path} holds {scores!r:.80}; expected checkpoint names with scores, such as {{'ep30': 0.4}}"
            )
    return by_set


def select(rule: str, scores: Mapping[str, float], dataset: str, validation: Validation | None = None) -> Selection:
    """Choose a checkpoint for one set.

    ``last`` takes the last one in the natural order of names. ``best-on-validation`` takes the best by validation
    scores. ``official`` takes the best on the test set itself, as AffectGPT's published row does for each set; that
    figure is optimistic, so the selection also has an honest one: that of the best by validation scores if there are
    any, else of the last checkpoint.

    Args:
        rule: The rule.
        scores: Checkpoint to its score on the test set.
        dataset: Name of the set.
        validation: Validation scores, if there are any.

    Raises:
        ConfigError: See ``check_rule``.
        DataError: If a checkpoint has no validation score, or there are no checkpoints.
    """
    check_rule(rule, validation)
    if not scores:
        raise DataError("there are no checkpoints to choose from")
    names = sorted(scores, key=natural_order)
    candidates = {name: scores[name] for name in names}
    if rule != "official":
        return Selection(rule, _honest(rule, names, dataset, validation), candidates)
    honest_rule = "last" if validation is None else "best-on-validation"
    honest = _honest(honest_rule, names, dataset, validation)
    # the first of equals, as in the published script; an undefined score is worse than any other
    chosen = max(names, key=lambda name: -1.0 if scores[name] != scores[name] else scores[name])
    return Selection(rule, chosen, candidates, HonestChoice(honest_rule, honest, scores[honest]))


def means_by_checkpoint(selections: Sequence[Selection | None]) -> dict[str, float]:
    """The mean over the sets of a system, for each checkpoint that answers all of them, in natural order.

    Empty unless there are several sets, each with a selection.
    """
    tables = [one.candidates for one in selections if one is not None]
    if len(tables) < 2 or len(tables) < len(selections):
        return {}
    shared = sorted(set.intersection(*(set(table) for table in tables)), key=natural_order)
    return {name: sum(table[name] for table in tables) / len(tables) for name in shared}


def _honest(rule: str, names: list[str], dataset: str, validation: Validation | None) -> str:
    if rule == "last":
        return names[-1]
    known = (validation or {}).get(dataset, (validation or {}).get("", {}))
    lacking = [name for name in names if name not in known]
    if lacking:
        raise DataError(
            f"{dataset}: the validation scores lack {', '.join(lacking)}; they have {', '.join(known) or 'none'}"
        )
    return max(names, key=lambda name: known[name])


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
