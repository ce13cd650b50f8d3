"""Score a file of predictions against a file of gold labels, as MER-UniBench does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.bench.files import Answers, first_few, gold_scores, read_gold, read_predictions
from affectgpt.bench.sets import TestSet, get_test_set
from affectgpt.errors import DataError
from affectgpt.metrics.functional import emotion_hit_rate, emotion_wheel_score, sentiment_score, unseen_words
from affectgpt.metrics.labels import MODES, Mode, check_mode, parse_labels
from affectgpt.metrics.wheel import EmotionWheel, check_wheel

NUM_UNSEEN = 20


def score(
    dataset: str,
    predictions: str | os.PathLike[str],
    gold: str | os.PathLike[str],
    wheel: EmotionWheel | None = None,
    mode: str = "official",
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

    Returns:
        Plain JSON: ``dataset``, ``metric`` (the set's own figure), ``score`` (its value), every figure of the mode by
        name, ``mode``, ``wheel``, ``samples`` and other counts, ``expected_samples`` of the published split,
        ``missing_predictions``, ``unseen_words`` (the most frequent ones, with counts). Values are fractions.

    Raises:
        ConfigError: If data set, mode or wheel do not exist.
        DataError: If a file is missing or damaged, names are repeated, predictions have names that the gold lacks, or
            (``official``) lack names of the gold; ``strict`` takes such answers for empty and lists them.
    """
    test_set, known_mode = get_test_set(dataset), check_mode(mode)
    wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)
    answers = read_predictions(predictions, want_sentiment=test_set.task == "sentiment")
    truth = read_gold(gold)
    missing = _match(answers, truth, known_mode)
    values = {name: answers.values.get(name) for name in truth.values}
    other: Mode = next(m for m in MODES if m != known_mode)
    result: dict[str, Any] = {
        "dataset": test_set.name,
        "title": test_set.title,
        "metric": test_set.metric,
        "score": None,
        "mode": known_mode,
        "wheel": wheel.name,
        "answers": answers.column,
        "gold_samples": len(truth.values),
        "expected_samples": test_set.num_samples,
        "missing_predictions": missing,
    }
    result |= _figures(test_set, answers, values, truth, wheel, known_mode)
    result["score"] = result[test_set.metric]
    try:
        result[other] = _figures(test_set, answers, values, truth, wheel, other)
    except DataError as error:
        result[other] = {"error": str(error)}
    return result


def _match(answers: Answers, truth: Answers, mode: Mode) -> list[str]:
    """Names without a prediction, after the check that all others fit."""
    extra = [name for name in answers.values if name not in truth.values]
    missing = [name for name in truth.values if name not in answers.values]
    problems = []
    if extra:
        problems.append(f"{len(extra)} names of {answers.source} are not in the gold: {first_few(extra)}")
    if missing and mode == "official":
        problems.append(f"{len(missing)} names of the gold have no prediction: {first_few(missing)}")
    if problems:
        advice = "" if extra else ". Mode 'strict' counts missing predictions as empty"
        raise DataError("; ".join(problems) + f" (gold: {truth.source}){advice}")
    if not truth.values:
        raise DataError(f"{truth.source} holds no sample")
    return missing


def _figures(
    test_set: TestSet, answers: Answers, values: Mapping[str, Any], truth: Answers, wheel: EmotionWheel, mode: Mode
) -> dict[str, Any]:
    found: Mapping[str, Any]
    if test_set.task == "sentiment":
        labels = [] if answers.is_sentiment else _labels(answers, values, mode)
        # A missing answer is none of the three, and so wrong (strict) or not positive (official).
        sentiments = (
            list(values.values()) if answers.is_sentiment else [_sentiment_of(answer, wheel) for answer in labels]
        )
        texts = ["" if text is None else str(text) for text in sentiments]
        found = sentiment_score(texts, gold_scores(truth), mode=mode)
    else:
        if answers.is_sentiment:
            raise DataError(f"{answers.source} holds sentiments only; {test_set.title} is scored on emotion labels")
        labels = _labels(answers, values, mode)
        target = list(truth.values.values())
        found = emotion_wheel_score(labels, target, wheel, mode=mode)
        if test_set.task == "discrete":
            found = {**found, **emotion_hit_rate(labels, target, wheel, mode=mode)}
    unseen = unseen_words(labels, wheel, mode=mode).most_common(NUM_UNSEEN)
    return {**{name: value.item() for name, value in found.items()}, "unseen_words": [list(pair) for pair in unseen]}


def _labels(answers: Answers, values: Mapping[str, Any], mode: Mode) -> list[list[str]]:
    parsed = []
    for name, value in values.items():
        try:
            # Whole answers carry a sentence around the labels, which only the tolerant reading takes off.
            parsed.append(parse_labels(value, mode="strict" if answers.is_free_text else mode))
        except DataError as error:
            raise DataError(f"{answers.source}, sample {name!r}: {error}") from None
    return parsed


def _sentiment_of(labels: Sequence[str], wheel: EmotionWheel) -> str:
    """The sentiment of the majority of the labels; neutral where they balance, or none is known."""
    known = [wheel.valence(label) for label in labels]
    balance = known.count("positive") - known.count("negative")
    return "positive" if balance > 0 else "negative" if balance < 0 else "neutral"
