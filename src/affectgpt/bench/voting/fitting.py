"""Fits the constants of a vote on one labelled set, and keeps them from being scored on that set."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.bench.gold import read_labels
from affectgpt.bench.predictions import Answers
from affectgpt.bench.voting.ballots import Ballots
from affectgpt.bench.voting.rules import Constants, check_rule, count_votes, depth_of, pick_words, word_groups
from affectgpt.datamodules.unibench.sets import get_test_set
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file, read_json
from affectgpt.metrics.functional import Summands, wheel_f1_summands
from affectgpt.metrics.labels import check_mode, parse_labels
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

GRID: Mapping[str, Sequence[float]] = {
    "decay": (0.3, 0.5, 0.7, 1.0, 1.5),
    "ratio": (0.15, 0.2, 0.25, 0.29, 0.35, 0.4, 0.5, 0.6),
    "lo": (1, 2, 3, 4),
    "hi": (3, 4, 5, 6, 8),
}
"""The constants that are tried, every one with every other; the published ones are among them."""

FOLDS = 5
_MOST_BYTES = 64 << 20


def fit_constants(
    ballots: Ballots,
    gold: str | os.PathLike[str],
    dataset: str = "ovmerdplus",
    rule: str = "rank-decay",
    wheel: EmotionWheel | None = None,
    mode: str = "official",
    gold_column: str | None = None,
) -> Constants:
    """Find the constants of ``GRID`` with the best wheel F1 on a labelled set.

    Args:
        ballots: The systems' answers to every sample of the set.
        gold: The set's labels, lists of words.
        dataset: What the set is scored as; one of label lists.
        rule: ``rank-decay`` or ``wheel``.
        wheel: The vocabulary; by default the built-in one.
        mode: ``official`` or ``strict``.
        gold_column: The column of the gold labels.

    Returns:
        The constants. ``fitted`` holds the set's digest and samples (hashes of name and labels), the score, what the
        published constants score, and the score of ``FOLDS``-fold cross-validation, in which no sample has a part in
        choosing the constants that it is scored with.

    Raises:
        ConfigError: If the rule has no constants, or the set is not one of label lists.
        DataError: If names of the answers and of the gold differ.
    """
    if check_rule(rule) not in ("rank-decay", "wheel"):
        raise ConfigError(f"the rule {rule!r} has no constants to fit; choose rank-decay or wheel")
    test_set = get_test_set(dataset)
    if test_set.task != "open":
        raise ConfigError(
            f"{test_set.title} is scored by {test_set.metric}, which no further word can lower, so that the longest "
            "answers would be fitted; fit on a set of label lists, such as ovmerdplus"
        )
    wheel = wheel or EmotionWheel.builtin()
    labels = read_labels(test_set, gold, gold_column)
    if set(labels.values) != set(ballots.names):
        missing, extra = set(labels.values) - set(ballots.names), set(ballots.names) - set(labels.values)
        raise DataError(f"{gold} has {len(missing)} names without an answer, and lacks {len(extra)} that have one")
    target = [labels.values[name] for name in ballots.names]
    tried = _grid()
    found = _scored(ballots, target, rule, tried, wheel, check_mode(mode))
    fold = np.arange(len(target)) % FOLDS
    sums = np.stack([[one.rows[fold == k].sum(0) for k in range(FOLDS)] for one in found])  # [tried, FOLDS, K]
    figure = found[0].figure
    scores = figure(sums.sum(1))
    best = int(np.nanargmax(scores))
    held_out = sum(sums[int(np.nanargmax(figure(sums.sum(1) - sums[:, k]))), k] for k in range(FOLDS))
    published = tried.index(Constants())
    record = {
        "gold": Path(gold).name,
        "sha256": digest_of_file(labels.source),
        "dataset": test_set.name,
        "samples": len(target),
        "sample_hashes": sorted(_hashes(labels)),
        "wheel": wheel.name,
        "mode": mode,
        "rule": rule,
        "systems": [dict(one.record) for one in ballots.systems],
        "grid": {name: list(values) for name, values in GRID.items()},
        "score": float(scores[best]),
        "score_of_published_constants": float(scores[published]),
        "cross_validated": float(figure(np.asarray(held_out))),
        "folds": FOLDS,
    }
    return replace(tried[best], fitted=record)


def load_constants(path: str | os.PathLike[str]) -> Constants:
    """Read constants that were fitted before.

    Raises:
        DataError: If the file is damaged, or holds other values.
    """
    found = read_json(Path(path), most_bytes=_MOST_BYTES)
    names = {"decay": float, "ratio": float, "lo": int, "hi": int, "depth": int, "support": float}
    if not isinstance(found, dict) or set(found) - {*names, "fitted"}:
        raise DataError(f"{path} holds no constants of a vote; expected an object with {', '.join(names)} and fitted")
    numbers = {name: value for name, value in found.items() if name in names}
    wrong = next((n for n, v in numbers.items() if isinstance(v, bool) or not isinstance(v, (int, float))), None)
    fitted = found.get("fitted")
    if wrong is not None or not isinstance(fitted, (dict, type(None))):
        raise DataError(f"{path}: {wrong or 'fitted'!r} is {found[wrong or 'fitted']!r}, which cannot be read")
    try:
        return Constants(**{name: names[name](value) for name, value in numbers.items()}, fitted=fitted)
    except (ConfigError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: {error}") from error


def refuse_fitted_on(constants: Constants, gold: Answers) -> None:
    """Refuse to score constants on samples that they were fitted on.

    Raises:
        ConfigError: If a sample of the gold, with the same labels, is among those of the fit.
    """
    if constants.fitted is None:
        return
    known = constants.fitted.get("sample_hashes")
    shared = _hashes(gold) & set(known if isinstance(known, list) else ())
    if shared or constants.fitted.get("sha256") == digest_of_file(gold.source):
        raise ConfigError(
            f"the constants were fitted on {constants.fitted.get('gold')}, and {len(shared)} of the "
            f"{len(gold.values)} samples of {gold.source} were among those; score another set, or use the published "
            "constants"
        )


def _grid() -> list[Constants]:
    names = list(GRID)
    every: Iterable[tuple[float, ...]] = itertools.product(*GRID.values())
    settings: list[dict[str, Any]] = [dict(zip(names, values, strict=True)) for values in every]
    return [Constants(**one) for one in settings if one["lo"] <= one["hi"]]


def _scored(
    ballots: Ballots, target: Sequence[Any], rule: str, tried: Sequence[Constants], wheel: EmotionWheel, mode: str
) -> list[Summands]:
    groups = word_groups(ballots, wheel) if rule == "wheel" else None
    tally = count_votes(ballots, 0, len(ballots.names), depth_of(ballots, rule, tried[0]))
    answers = (pick_words(ballots, tally, rule, constants, groups) for constants in tried)
    return [wheel_f1_summands(one, target, wheel, mode=mode, zero_division=0.0) for one in answers]


def _hashes(gold: Answers) -> set[str]:
    """A hash of every sample's name and labels: it tells the sample again without telling what it is."""

    def of(name: str, labels: Any) -> str:
        text = "\n".join([name, *sorted(parse_labels(labels))])
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    return {of(name, labels) for name, labels in gold.values.items()}
