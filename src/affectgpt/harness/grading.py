"""Scores the answers that a harness collected, in memory, exactly as ``affectgpt score`` scores a file of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from affectgpt.bench.extract import LabelExtractor, SentimentReader
from affectgpt.bench.gold import Gold
from affectgpt.bench.predictions import Answers
from affectgpt.bench.result import SetResult
from affectgpt.bench.scoring import default_readers, score
from affectgpt.datamodules.unibench.sets import TestSet, get_test_set
from affectgpt.errors import ConfigError
from affectgpt.metrics.functional import emotion_sample_scores
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel


@dataclass(frozen=True)
class Grading:
    """How answers are scored, as plain texts, so that a harness can store it.

    Attributes:
        wheel: ``builtin``, ``official`` or the folder of the official tables.
        extractor: What reads labels out of answers: ``lexicon`` (free text of any model) or ``template`` (answers in
            AffectGPT's own wording, and lists).
        sentiment: What reads sentiments off labels: ``lexicon`` or ``wheel``.
    """

    wheel: str = "builtin"
    extractor: str = "lexicon"
    sentiment: str = "lexicon"

    def __post_init__(self) -> None:
        """Refuse readers that need a chat model of their own.

        Raises:
            ConfigError: If ``llm`` is asked for.
        """
        if "llm" in (self.extractor, self.sentiment):
            raise ConfigError(
                "a harness scores with the readers that need no other model: lexicon, template or wheel. For the "
                "reader llm score the harness's answers with affectgpt score --extractor llm"
            )


@dataclass(frozen=True)
class GradedItem:
    """One clip's answer with what it is scored against.

    Attributes:
        set_name: The test set.
        name: The clip.
        answer: The whole answer; ``None`` where there is none.
        gold: The true label, score, or text of a list.
        cluster: Its dialogue or video, or ``None``.
    """

    set_name: str
    name: str
    answer: str | None
    gold: str | float
    cluster: str | None = field(default=None)


def grade(items: Mapping[str, GradedItem], grading: Grading) -> SetResult:
    """Score the answers to a test set, or to some of its clips.

    Args:
        items: By name of the clip, all of one set.
        grading: How they are scored.

    Returns:
        As ``affectgpt.bench.score`` gives it, in mode ``official`` with ``strict`` beside; ``standard_error`` is by
        dialogue or video where the names of the set say which.

    Raises:
        DataError: If a gold value cannot be read.
    """
    test_set = get_test_set(next(iter(items.values())).set_name)
    gold = Answers({name: one.gold for name, one in items.items()}, "", "the harness's gold labels")
    answers = Answers({name: one.answer for name, one in items.items()}, "text", "the harness's answers", "text")
    extractor, sentiment_reader = _readers(grading)
    return score(
        test_set.name,
        answers,
        Gold(Path("gold"), gold),
        _wheel(grading.wheel),
        resamples=0,
        extractor=extractor,
        sentiment_reader=sentiment_reader,
        clusters={name: one.cluster for name, one in items.items() if one.cluster},
    )


def grade_one(item: GradedItem, grading: Grading) -> tuple[list[str], float]:
    """The labels of one answer, and the clip's own score.

    The score of a set is not the mean of these: wheels differ in the clips that they count, and an F1 is one of sums.

    Returns:
        The labels, and in [0, 1]: whether the true label was hit, the F1 of the labels (means over the wheels), or
        whether the sentiment is right; 0 where no wheel counts the clip.
    """
    test_set = get_test_set(item.set_name)
    extractor, sentiment_reader = _readers(grading)
    labels = extractor.extract([item.answer])[0]
    if test_set.task == "sentiment":
        true = float(item.gold)
        sign = "positive" if true > 0 else "negative" if true < 0 else "neutral"
        return labels, float(sentiment_reader.read([labels])[0] == sign)
    return labels, _own_score(test_set, labels, item.gold, _wheel(grading.wheel))


def _own_score(test_set: TestSet, labels: list[str], gold: Any, wheel: EmotionWheel) -> float:
    means = emotion_sample_scores([labels], [gold], wheel).mean_over_wheels()
    value = float(means["f1" if test_set.task == "open" else "hits"][0])
    return 0.0 if math.isnan(value) else value


@lru_cache(maxsize=4)
def _wheel(name: str) -> EmotionWheel:
    if name == "builtin":
        return EmotionWheel.builtin()
    return EmotionWheel.official(None if name == "official" else name)


@lru_cache(maxsize=4)
def _readers(grading: Grading) -> tuple[LabelExtractor, SentimentReader]:
    return default_readers(grading.extractor, grading.sentiment, _wheel(grading.wheel))
