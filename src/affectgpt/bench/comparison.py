"""Compares two files of predictions on the same gold labels."""

from __future__ import annotations

import os
from pathlib import Path

from affectgpt.bench.extract import LabelExtractor, SentimentReader
from affectgpt.bench.gold import Gold, read_labels
from affectgpt.bench.match_samples import read_pairing
from affectgpt.bench.scoring import default_readers
from affectgpt.bench.system_result import ComparedSystem, Comparison, SkillDifference
from affectgpt.datamodules.unibench.sets import get_test_set
from affectgpt.metrics.functional import bootstrap_difference
from affectgpt.metrics.labels import check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, check_wheel


def compare(
    dataset: str,
    predictions_a: str | os.PathLike[str],
    predictions_b: str | os.PathLike[str],
    gold: str | os.PathLike[str] | Gold,
    wheel: EmotionWheel | None = None,
    mode: str = "official",
    resamples: int = 10_000,
    seed: int = 0,
    extractor: str | LabelExtractor = "template",
    sentiment_reader: str | SentimentReader = "lexicon",
    column_a: str | None = None,
    column_b: str | None = None,
    gold_column: str | None = None,
) -> Comparison:
    """Compare two systems on one test set: both are scored on the same bootstrap resamples of its samples.

    Args:
        dataset: One of ``mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus``.
        predictions_a: One system's answers, see ``score``.
        predictions_b: The other system's answers.
        gold: File with columns ``name`` and ``label``, or the set's own, see ``score``.
        wheel: The vocabulary; by default the built-in one.
        mode: ``official`` (as published) or ``strict``.
        resamples: How many resamples to draw.
        seed: Seed of the resamples.
        extractor: The extractor that reads labels from whole answers.
        sentiment_reader: The reader that derives sentiments from labels.
        column_a: The column of the first predictions; by default the only one with a name that answers usually have.
        column_b: The column of the second predictions.
        gold_column: The column of the gold labels in a plain table.

    Returns:
        The scores of both (``a`` and ``b``), the difference with its interval, and for sets with one true label the
        difference of the hit rates above chance.

    Raises:
        ConfigError: If the data set, the mode or the wheel does not exist, or ``resamples`` is not positive.
        DataError: As in ``score``.
    """
    test_set, known_mode = get_test_set(dataset), check_mode(mode)
    wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)
    gold = gold if isinstance(gold, Gold) else Gold(Path(gold), read_labels(test_set, gold, gold_column))
    pairings = [
        read_pairing(test_set, path, gold, known_mode, column)
        for path, column in ((predictions_a, column_a), (predictions_b, column_b))
    ]
    readers = default_readers(extractor, sentiment_reader, wheel)
    first, second = (pairing.read(wheel, known_mode, *readers) for pairing in pairings)
    found = bootstrap_difference(first.summands(), second.summands(), resamples, seed=seed)
    a, b = (
        ComparedSystem(pairing.answers.source, pairing.answers.column, interval, tuple(pairing.missing))
        for pairing, interval in zip(pairings, (found.first, found.second), strict=True)
    )
    skill = None
    if test_set.task == "discrete":
        above = bootstrap_difference(first.skill_summands(), second.skill_summands(), resamples, seed=seed)
        skill = SkillDifference(above.first.value, above.second.value, above.difference, above.first_better)
    return Comparison(
        dataset=test_set.name,
        title=test_set.title,
        metric=test_set.metric,
        mode=known_mode,
        wheel=wheel.name,
        samples=len(first.target),
        seed=seed,
        a=a,
        b=b,
        difference=found.difference,
        a_better=found.first_better,
        hit_skill=skill,
    )
