"""Scores a file of predictions against a file of gold labels, as MER-UniBench does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from affectgpt.bench.class_scores import scores_by_class
from affectgpt.bench.extract import LabelExtractor, SentimentReader, get_extractor, get_sentiment_reader
from affectgpt.bench.extract.base import Reader
from affectgpt.bench.gold import Gold
from affectgpt.bench.match_samples import Reading, read_pairing
from affectgpt.bench.predictions import Answers
from affectgpt.bench.result import Figures, SetResult, figures_from
from affectgpt.datamodules.unibench.sets import get_test_set
from affectgpt.errors import DataError
from affectgpt.metrics.functional import (
    Interval,
    Summands,
    bootstrap_interval,
    emotion_hit_rate,
    emotion_wheel_score,
    jackknife_error,
    label_words,
    sentiment_score,
    unseen_words,
)
from affectgpt.metrics.labels import MODES, Mode, check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, check_wheel

NUM_WORDS = 20


def score(
    dataset: str,
    predictions: str | os.PathLike[str] | Answers,
    gold: str | os.PathLike[str] | Gold,
    wheel: EmotionWheel | None = None,
    mode: str = "official",
    resamples: int = 10_000,
    seed: int = 0,
    extractor: str | LabelExtractor = "template",
    sentiment_reader: str | SentimentReader = "lexicon",
    column: str | None = None,
    gold_column: str | None = None,
    clusters: Mapping[str, str] | None = None,
) -> SetResult:
    """Score predictions on one test set.

    Args:
        dataset: One of ``mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus``.
        predictions: File with one answer per sample, see ``read_predictions``, or answers that are already in memory.
            Sentiment sets take sentiments, or else labels, from which the sentiment is then derived.
        gold: File with columns ``name`` and ``label``, or the set's own folder or file of labels, such as MELD's
            ``test_sent_emo.csv``; or labels that are already in memory.
        wheel: The vocabulary; by default the built-in one. The published figures need ``EmotionWheel.official()``.
        mode: Mode of the figures at the top of the result: ``official`` (as published) or ``strict``. The figures of
            the other mode are under its name.
        resamples: Number of bootstrap resamples for the 95 % interval of ``score``; 0 leaves it out.
        seed: Seed of the resamples.
        extractor: The extractor that reads labels from whole answers (a ``text`` column): a name of ``EXTRACTORS``, or
            an instance.
        sentiment_reader: The reader that derives sentiments from labels: a name of ``SENTIMENT_READERS``, or an
            instance.
        column: The column of the predictions; by default the only one with a name that answers usually have.
        gold_column: The column of the gold labels in a plain table; by default the only one with a name that they
            usually have.
        clusters: Sample name to the cluster that it shares with other samples, such as its speaker or dialogue; a
            sample without an entry is a cluster of its own. With clusters the result has a ``standard_error``, see
            ``jackknife_error``.

    Returns:
        A frozen record with the set's own figure and all others as attributes, as fractions; ``to_json()`` returns them
        as flat JSON.

    Raises:
        ConfigError: If the data set, the mode, the wheel or a reader does not exist, or ``resamples`` is negative.
        DataError: If a file is missing or damaged, names are repeated, predictions have names that the gold lacks, or
            (``official``) lack names of the gold or cannot be read; ``strict`` counts such answers as empty and lists
            them, but rejects gold values that are missing or out of range.
    """
    test_set, known_mode = get_test_set(dataset), check_mode(mode)
    wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)
    readers = default_readers(extractor, sentiment_reader, wheel)
    before = [reader.record()["counts"] for reader in readers]
    pairing = read_pairing(test_set, predictions, gold, known_mode, column, gold_column)
    answers = pairing.answers
    reading = pairing.read(wheel, known_mode, *readers)
    keys = None if clusters is None else [clusters.get(name, f"\0{name}") for name in pairing.values]
    figures = _figures(reading, resamples, seed, keys)
    used = (answers.is_free_text, test_set.task == "sentiment" and not answers.is_sentiment)
    records = [
        _record_of(reader, counts) if is_used else None
        for reader, counts, is_used in zip(readers, before, used, strict=True)
    ]
    other_mode: Mode = next(m for m in MODES if m != known_mode)
    other, other_error = None, None
    try:
        other = _figures(pairing.read(wheel, other_mode, *readers, before=reading), resamples, seed, keys)
    except DataError as error:
        other_error = str(error)
    return SetResult(
        **{entry.name: getattr(figures, entry.name) for entry in fields(figures)},
        dataset=test_set.name,
        title=test_set.title,
        metric=test_set.metric,
        score=getattr(figures, test_set.metric),
        mode=known_mode,
        wheel=wheel.name,
        wheel_digest=wheel.digest(),
        answers=answers.column,
        gold_column=pairing.gold.column or None,
        gold_samples=len(pairing.gold.values),
        expected_samples=test_set.num_samples,
        missing_predictions=tuple(pairing.missing),
        extractor=records[0],
        sentiment_reader=records[1],
        other=other,
        other_error=other_error,
    )


def default_readers(
    extractor: str | LabelExtractor = "template",
    sentiment_reader: str | SentimentReader = "lexicon",
    wheel: EmotionWheel | None = None,
) -> tuple[LabelExtractor, SentimentReader]:
    """The readers of labels and of sentiments; those given by name are built.

    Args:
        extractor: A name of ``EXTRACTORS``, or an instance.
        sentiment_reader: A name of ``SENTIMENT_READERS``, or an instance.
        wheel: The vocabulary of the sentiment reader ``wheel``.

    Raises:
        ConfigError: If a name is unknown.
    """
    if isinstance(sentiment_reader, str):
        own = {"wheel": wheel} if sentiment_reader == "wheel" else {}
        sentiment_reader = get_sentiment_reader(sentiment_reader, **own)
    return get_extractor(extractor) if isinstance(extractor, str) else extractor, sentiment_reader


def _record_of(reader: Reader, before: Mapping[str, int]) -> dict[str, Any]:
    """The reader's record with what it counted since ``before``: one reader may serve several sets."""
    record = reader.record()
    counts = {name: number - before.get(name, 0) for name, number in record["counts"].items()}
    return record | {"counts": {name: number for name, number in counts.items() if number}}


def _figures(reading: Reading, resamples: int, seed: int, clusters: Sequence[str] | None) -> Figures:
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
    summands = reading.summands()
    return figures_from(
        {name: value.item() for name, value in found.items()},
        standard_error=None if clusters is None else jackknife_error(summands, clusters),
        interval=_interval(summands, resamples, seed),
        hit_skill_interval=_interval(reading.skill_summands(), resamples, seed) if discrete else None,
        seed=seed,
        per_class=scores_by_class(reading),
        frequent_words=tuple(words.most_common(NUM_WORDS)),
        unseen_words=tuple(unseen.most_common(NUM_WORDS)),
        unreadable_predictions=tuple(reading.unreadable),
        **{name: tuple(samples) for name, samples in reading.gold.problems.items()},
    )


def _interval(summands: Summands, resamples: int, seed: int) -> Interval | None:
    return bootstrap_interval(summands, resamples, seed=seed) if resamples else None
