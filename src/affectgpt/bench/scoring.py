"""Score a file of predictions against a file of gold labels, as MER-UniBench does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from affectgpt.bench.class_scores import scores_by_class
from affectgpt.bench.extract import LabelExtractor, SentimentReader, get_extractor, get_sentiment_reader
from affectgpt.bench.extract.base import Reader
from affectgpt.bench.gold import Gold
from affectgpt.bench.match_samples import Reading, read_pairing
from affectgpt.datamodules.unibench.sets import get_test_set
from affectgpt.errors import DataError
from affectgpt.metrics.functional import (
    Summands,
    bootstrap_interval,
    emotion_hit_rate,
    emotion_wheel_score,
    label_words,
    sentiment_score,
    unseen_words,
)
from affectgpt.metrics.labels import MODES, Mode, check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, check_wheel

NUM_WORDS = 20


def score(
    dataset: str,
    predictions: str | os.PathLike[str],
    gold: str | os.PathLike[str] | Gold,
    wheel: EmotionWheel | None = None,
    mode: str = "official",
    resamples: int = 10_000,
    seed: int = 0,
    extractor: str | LabelExtractor = "template",
    sentiment_reader: str | SentimentReader = "lexicon",
    column: str | None = None,
    gold_column: str | None = None,
) -> dict[str, Any]:
    """Score predictions on one test set.

    Args:
        dataset: One of ``mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus``.
        predictions: File with one answer per sample, see ``read_predictions``. Sentiment sets take sentiments, or else
            labels, whose sentiment is then read.
        gold: File with columns ``name`` and ``label``, or the set's own folder or file of labels, such as MELD's
            ``test_sent_emo.csv``; or what was read from them before.
        wheel: The vocabulary; by default the built-in one. The published figures need ``EmotionWheel.official()``.
        mode: Which figures stand at the top: ``official`` (as published) or ``strict``. The others are under the other
            mode's name.
        resamples: How many bootstrap resamples the 95 % interval of ``score`` is made of; 0 leaves it out.
        seed: Seed of the resamples.
        extractor: What reads labels out of whole answers (a ``text`` column): a name of ``EXTRACTORS``, or an instance.
        sentiment_reader: What reads sentiments off labels: a name of ``SENTIMENT_READERS``, or an instance.
        column: The column of the predictions; by default the only one that is called as answers are.
        gold_column: The column of the gold labels in a plain table; by default the only one that is called as they are.

    Returns:
        Plain JSON: ``dataset``, ``metric`` (the set's own figure), ``score`` (its value), ``interval`` (``low``,
        ``high``, ``confidence``, ``resamples``, ``undefined``, ``seed``; ``None`` without resamples), for sets with one
        true label ``hit_skill_interval`` likewise, every figure of the mode by name, ``mode``, ``wheel``, ``samples``
        and other counts, ``expected_samples`` of the published split, ``missing_predictions``,
        ``unreadable_predictions``, ``gold_missing``, ``gold_out_of_range``, ``gold_unknown`` (names of samples),
        ``per_class``, ``frequent_words`` and ``unseen_words`` (the most frequent ones, with counts), ``extractor`` and
        ``sentiment_reader`` (their ``record()``, where they were used). Values are fractions.

    Raises:
        ConfigError: If data set, mode, wheel or a reader do not exist, or ``resamples`` is negative.
        DataError: If a file is missing or damaged, names are repeated, predictions have names that the gold lacks, or
            (``official``) lack names of the gold or cannot be read; ``strict`` takes such answers for empty and lists
            them, but refuses gold values that are missing or out of range.
    """
    test_set, known_mode = get_test_set(dataset), check_mode(mode)
    wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)
    readers = default_readers(extractor, sentiment_reader, wheel)
    before = [reader.record()["counts"] for reader in readers]
    pairing = read_pairing(test_set, predictions, gold, known_mode, column, gold_column)
    other: Mode = next(m for m in MODES if m != known_mode)
    answers = pairing.answers
    result: dict[str, Any] = {
        "dataset": test_set.name,
        "title": test_set.title,
        "metric": test_set.metric,
        "score": None,
        "interval": None,
        "mode": known_mode,
        "wheel": wheel.name,
        "answers": answers.column,
        "gold_column": pairing.truth.column or None,
        "gold_samples": len(pairing.truth.values),
        "expected_samples": test_set.num_samples,
        "missing_predictions": list(pairing.missing),
    }
    result |= _figures(pairing.read(wheel, known_mode, *readers), resamples, seed)
    result["score"] = result[test_set.metric]
    used = (answers.is_free_text, test_set.task == "sentiment" and not answers.is_sentiment)
    for name, reader, counts, is_used in zip(("extractor", "sentiment_reader"), readers, before, used, strict=True):
        result[name] = _record_of(reader, counts) if is_used else None
    try:
        result[other] = _figures(pairing.read(wheel, other, *readers), resamples, seed)
    except DataError as error:
        result[other] = {"error": str(error)}
    return result


def default_readers(
    extractor: str | LabelExtractor = "template",
    sentiment_reader: str | SentimentReader = "lexicon",
    wheel: EmotionWheel | None = None,
) -> tuple[LabelExtractor, SentimentReader]:
    """The readers of labels and of sentiments, made by name where a name is given.

    Args:
        extractor: A name of ``EXTRACTORS``, or an instance.
        sentiment_reader: A name of ``SENTIMENT_READERS``, or an instance.
        wheel: The vocabulary of the sentiment reader ``wheel``.

    Raises:
        ConfigError: If there is none of that name.
    """
    if isinstance(sentiment_reader, str):
        own = {"wheel": wheel} if sentiment_reader == "wheel" else {}
        sentiment_reader = get_sentiment_reader(sentiment_reader, **own)
    return get_extractor(extractor) if isinstance(extractor, str) else extractor, sentiment_reader


def _record_of(reader: Reader, before: Mapping[str, int]) -> dict[str, Any]:
    """What the reader says of itself, with what it counted since then: one reader may serve several sets."""
    record = reader.record()
    counts = {name: number - before.get(name, 0) for name, number in record["counts"].items()}
    return record | {"counts": {name: number for name, number in counts.items() if number}}


def _figures(reading: Reading, resamples: int, seed: int) -> dict[str, Any]:
    labels, wheel, mode = reading.labels, reading.wheel, reading.mode
    discrete = reading.test_set.task == "discrete"
    found: Mapping[str, Any]
    if reading.sentiments is not None:
        found = sentiment_score(reading.sentiments, reading.target, mode=mode)
    else:
        found = emotion_wheel_score(labels, reading.target, wheel, mode=mode)
        if discrete:
            found = {**found, **emotion_hit_rate(labels, reading.target, wheel, mode=mode)}
    words, unseen = label_words(labels, mode), unseen_words(labels, wheel, mode)
    skill = {"hit_skill_interval": _interval(reading.skill_summands(), resamples, seed)} if discrete else {}
    return {
        **{name: value.item() for name, value in found.items()},
        "interval": _interval(reading.summands(), resamples, seed),
        **skill,
        "per_class": scores_by_class(reading),
        "frequent_words": [list(pair) for pair in words.most_common(NUM_WORDS)],
        "unseen_words": [list(pair) for pair in unseen.most_common(NUM_WORDS)],
        "unreadable_predictions": list(reading.unreadable),
        **reading.truth.problems,
    }


def _interval(summands: Summands, resamples: int, seed: int) -> dict[str, Any] | None:
    if not resamples:
        return None
    found = asdict(bootstrap_interval(summands, resamples, seed=seed)) | {"seed": seed}
    del found["value"]
    return found
