"""Score a file of predictions against a file of gold labels, as MER-UniBench does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from affectgpt.bench.pairing import Pairing, read_pairing
from affectgpt.bench.sets import get_test_set
from affectgpt.errors import DataError
from affectgpt.metrics.functional import (
    bootstrap_interval,
    emotion_hit_rate,
    emotion_wheel_score,
    sentiment_score,
    unseen_words,
)
from affectgpt.metrics.labels import MODES, Mode, check_mode
from affectgpt.metrics.wheel import EmotionWheel, check_wheel

NUM_UNSEEN = 20


def score(
    dataset: str,
    predictions: str | os.PathLike[str],
    gold: str | os.PathLike[str],
    wheel: EmotionWheel | None = None,
    mode: str = "official",
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predictions on one test set.

    Args:
        dataset: One of ``mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus``.
        predictions: File with one answer per sample, see ``read_predictions``. Sentiment sets take sentiments, or else
            labels, whose sentiment is then read off the wheel.
        gold: File with columns ``name`` and ``label``.
        wheel: The vocabulary; by default the built-in one. The published figures need ``EmotionWheel.official()``.
        mode: Which figures stand at the top: ``official`` (as published) or ``strict``. The others are under the other
            mode's name.
        resamples: How many bootstrap resamples the 95 % interval of ``score`` is made of; 0 leaves it out.
        seed: Seed of the resamples.

    Returns:
        Plain JSON: ``dataset``, ``metric`` (the set's own figure), ``score`` (its value), ``interval`` (``low``,
        ``high``, ``confidence``, ``resamples``, ``undefined``, ``seed``; ``None`` without resamples), every figure of
        the mode by name, ``mode``, ``wheel``, ``samples`` and other counts, ``expected_samples`` of the published
        split, ``missing_predictions``, ``unseen_words`` (the most frequent ones, with counts). Values are fractions.

    Raises:
        ConfigError: If data set, mode or wheel do not exist, or ``resamples`` is negative.
        DataError: If a file is missing or damaged, names are repeated, predictions have names that the gold lacks, or
            (``official``) lack names of the gold; ``strict`` takes such answers for empty and lists them.
    """
    test_set, known_mode = get_test_set(dataset), check_mode(mode)
    wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)
    pairing = read_pairing(test_set, predictions, gold, known_mode)
    other: Mode = next(m for m in MODES if m != known_mode)
    result: dict[str, Any] = {
        "dataset": test_set.name,
        "title": test_set.title,
        "metric": test_set.metric,
        "score": None,
        "interval": None,
        "mode": known_mode,
        "wheel": wheel.name,
        "answers": pairing.answers.column,
        "gold_samples": len(pairing.truth.values),
        "expected_samples": test_set.num_samples,
        "missing_predictions": list(pairing.missing),
    }
    result |= _figures(pairing, wheel, known_mode, resamples, seed)
    result["score"] = result[test_set.metric]
    try:
        result[other] = _figures(pairing, wheel, other, resamples, seed)
    except DataError as error:
        result[other] = {"error": str(error)}
    return result


def _figures(pairing: Pairing, wheel: EmotionWheel, mode: Mode, resamples: int, seed: int) -> dict[str, Any]:
    labels, target = pairing.labels(mode), pairing.target
    found: Mapping[str, Any]
    if pairing.test_set.task == "sentiment":
        found = sentiment_score(pairing.sentiments(wheel, labels), target, mode=mode)
    else:
        found = emotion_wheel_score(labels, target, wheel, mode=mode)
        if pairing.test_set.task == "discrete":
            found = {**found, **emotion_hit_rate(labels, target, wheel, mode=mode)}
    unseen = unseen_words(labels, wheel, mode=mode).most_common(NUM_UNSEEN)
    interval = None
    if resamples:
        interval = asdict(bootstrap_interval(pairing.summands(wheel, mode), resamples, seed=seed)) | {"seed": seed}
        del interval["value"]
    return {
        **{name: value.item() for name, value in found.items()},
        "interval": interval,
        "unseen_words": [list(pair) for pair in unseen],
    }
