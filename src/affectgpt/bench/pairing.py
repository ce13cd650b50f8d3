"""Bring a file of predictions and a file of gold labels together, sample by sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affectgpt.bench.files import Answers, first_few, gold_scores, read_gold, read_predictions
from affectgpt.bench.sets import TestSet
from affectgpt.errors import DataError
from affectgpt.metrics.functional import Summands, hit_rate_summands, weighted_f1_summands, wheel_f1_summands
from affectgpt.metrics.labels import Mode, parse_labels
from affectgpt.metrics.wheel import EmotionWheel


@dataclass(frozen=True)
class Pairing:
    """Predictions in the order of the gold.

    Attributes:
        test_set: What they are scored as.
        answers: The predictions as they were read.
        truth: The gold labels.
        values: Raw prediction per name of the gold, ``None`` where there is none.
        missing: Names of the gold without a prediction.
    """

    test_set: TestSet
    answers: Answers
    truth: Answers
    values: Mapping[str, Any]
    missing: Sequence[str]

    @property
    def target(self) -> list[Any]:
        """The gold labels in order; of a sentiment set, its scores.

        Raises:
            DataError: If the score of a sentiment set is no number.
        """
        return gold_scores(self.truth) if self.test_set.task == "sentiment" else list(self.truth.values.values())

    def labels(self, mode: Mode) -> list[list[str]]:
        """The predicted labels of each sample; none where the file holds sentiments.

        Raises:
            DataError: If an answer cannot be read, or the set needs labels and the file has none.
        """
        answers = self.answers
        if answers.is_sentiment:
            if self.test_set.task != "sentiment":
                raise DataError(
                    f"{answers.source} holds sentiments only; {self.test_set.title} is scored on emotion labels"
                )
            return []
        parsed = []
        for name, value in self.values.items():
            try:
                # Whole answers carry a sentence around the labels, which only the tolerant reading takes off.
                parsed.append(parse_labels(value, mode="strict" if answers.is_free_text else mode))
            except DataError as error:
                raise DataError(f"{answers.source}, sample {name!r}: {error}") from None
        return parsed

    def sentiments(self, wheel: EmotionWheel, labels: Sequence[Sequence[str]]) -> list[str]:
        """The predicted sentiment of each sample, read off the labels where the file has no sentiments."""
        if not self.answers.is_sentiment:
            return [_sentiment_of(answer, wheel) for answer in labels]
        # A missing answer is none of the three, and so wrong (strict) or not positive (official).
        return ["" if text is None else str(text) for text in self.values.values()]

    def summands(self, wheel: EmotionWheel, mode: Mode) -> Summands:
        """What each sample adds to the figure of the set.

        Raises:
            DataError: If an answer or a gold value cannot be read.
        """
        labels = self.labels(mode)
        if self.test_set.task == "sentiment":
            return weighted_f1_summands(self.sentiments(wheel, labels), self.target, mode=mode)
        form = hit_rate_summands if self.test_set.task == "discrete" else wheel_f1_summands
        return form(labels, self.target, wheel, mode=mode)


def read_pairing(
    test_set: TestSet, predictions: str | os.PathLike[str], gold: str | os.PathLike[str], mode: Mode
) -> Pairing:
    """Read both files, and check that their names fit.

    Raises:
        DataError: If a file is missing or damaged, names are repeated, predictions have names that the gold lacks, or
            (``official``) lack names of the gold.
    """
    answers = read_predictions(predictions, want_sentiment=test_set.task == "sentiment")
    truth = read_gold(gold)
    missing = _match(answers, truth, mode)
    return Pairing(test_set, answers, truth, {name: answers.values.get(name) for name in truth.values}, missing)


def _match(answers: Answers, truth: Answers, mode: Mode) -> list[str]:
    """Names without a prediction, after the check that all others fit."""
    extra = [name for name in answers.values if name not in truth.values]
    missing = [name for name in truth.values if name not in answers.values]
    problems = []
    if extra:
        problems.append(f"{len(extra)} names of {answers.source} are not in the gold: {first_few(extra)}")
    if missing and mode == "official":
        problems.append(
            f"{len(missing)} names of the gold have no prediction in {answers.source}: {first_few(missing)}"
        )
    if problems:
        advice = "" if extra else ". Mode 'strict' counts missing predictions as empty"
        raise DataError("; ".join(problems) + f" (gold: {truth.source}){advice}")
    if not truth.values:
        raise DataError(f"{truth.source} holds no sample")
    return missing


def _sentiment_of(labels: Sequence[str], wheel: EmotionWheel) -> str:
    """The sentiment of the majority of the labels; neutral where they balance, or none is known."""
    known = [wheel.valence(label) for label in labels]
    balance = known.count("positive") - known.count("negative")
    return "positive" if balance > 0 else "negative" if balance < 0 else "neutral"
