"""Matches a file of predictions with a file of gold labels, sample by sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affectgpt.bench.answer_column import GOLD_COLUMNS, UNDECIDED_COLUMNS
from affectgpt.bench.extract.base import LabelExtractor, SentimentReader
from affectgpt.bench.gold import Gold, read_labels
from affectgpt.bench.gold_check import CheckedGold, check_gold
from affectgpt.bench.predictions import Answers, is_same_content, read_predictions
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.errors import DataError, first_few
from affectgpt.metrics.final_answer import SENTIMENT_KEYS, read_answer
from affectgpt.metrics.functional import (
    Summands,
    hit_rate_summands,
    hit_skill_summands,
    weighted_f1_summands,
    wheel_f1_summands,
)
from affectgpt.metrics.labels import Mode, is_missing, parse_labels
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel


@dataclass(frozen=True)
class Pairing:
    """Predictions in the order of the gold.

    Attributes:
        test_set: The set that they are scored on.
        answers: The predictions as they were read.
        gold: The gold labels.
        values: The raw prediction of each gold sample, ``None`` if it has none.
        missing: Names of the gold samples without a prediction.
    """

    test_set: TestSet
    answers: Answers
    gold: Answers
    values: Mapping[str, Any]
    missing: Sequence[str]

    def read(
        self,
        wheel: EmotionWheel,
        mode: Mode,
        extractor: LabelExtractor,
        sentiment_reader: SentimentReader,
        before: Reading | None = None,
    ) -> Reading:
        """Turn the raw answers into labels or sentiments.

        Args:
            wheel: The vocabulary.
            mode: ``official`` rejects an invalid answer (a number), ``strict`` counts it as empty and lists it.
            extractor: Reads labels from whole answers; lists of labels are used unchanged.
            sentiment_reader: Derives sentiments from labels, if the set needs them and the file has none.
            before: The reading in the other mode, whose extracted labels are used again: they are the same in both
                modes.

        Raises:
            DataError: If an answer cannot be read (``official``), the set needs labels and the file has none, or
                ``check_gold`` rejects a gold value.
        """
        gold = check_gold(self.test_set, self.gold, mode)
        if self.answers.is_sentiment:
            if self.test_set.task != "sentiment":
                raise DataError(
                    f"{self.answers.source} holds sentiments only; {self.test_set.title} is scored on emotion labels"
                )
            # A missing answer has no sentiment, and so is wrong (strict) or not positive (official).
            texts = ["" if is_missing(text) else _sentiment_in(str(text)) for text in self.values.values()]
            return Reading(self.test_set, wheel, mode, [], gold, texts, [])
        if before is not None and self.answers.is_free_text and not before.unreadable:
            return replace(before, mode=mode, gold=gold)
        labels, unreadable = self._labels(mode, extractor)
        sentiments = sentiment_reader.read(labels) if self.test_set.task == "sentiment" else None
        return Reading(self.test_set, wheel, mode, labels, gold, sentiments, unreadable)

    def _labels(self, mode: Mode, extractor: LabelExtractor) -> tuple[list[list[str]], list[str]]:
        """The labels of each sample, and the names of those that could not be read."""
        labels: list[list[str]] = []
        unreadable: list[str] = []
        for name, value in self.values.items():
            try:
                labels.append(self._labels_of(value, mode))
            except DataError as error:
                if mode == "official":
                    raise DataError(f"{self.answers.source}, sample {name!r}: {error}") from None
                labels.append([])
                unreadable.append(name)
        if self.answers.is_free_text:
            labels = extractor.extract([" ".join(texts) for texts in labels])
        return labels, unreadable

    def _labels_of(self, value: Any, mode: Mode) -> list[str]:
        if not self.answers.is_free_text:
            if isinstance(value, str) and (reply := read_answer(value)).is_wrapped:
                value = reply.text if reply.items is None else list(reply.items)
            found = parse_labels(value, mode=mode)
            wrong = next((label for label in found if not isinstance(label, str)), None)
            if wrong is not None or None in found:
                raise DataError(
                    f"the list {found!r} holds {wrong!r}, which is not a label; mode 'strict' leaves it out"
                )
            return found
        if is_missing(value):
            return []
        if not isinstance(value, str):
            raise DataError(f"the answer is {value!r} ({type(value).__name__}); expected a text")
        return [value]


@dataclass(frozen=True)
class Reading:
    """Answers and gold, ready to be scored.

    Attributes:
        test_set: The set that they are scored on.
        wheel: The vocabulary.
        mode: ``official`` or ``strict``.
        labels: Predicted labels per sample; empty if the file holds sentiments.
        gold: Gold values in the same order, with their problems.
        sentiments: Predicted sentiments, for sentiment sets.
        unreadable: Names of samples with an invalid answer (``strict``).
    """

    test_set: TestSet
    wheel: EmotionWheel
    mode: Mode
    labels: list[list[str]]
    gold: CheckedGold
    sentiments: list[str] | None
    unreadable: list[str]

    @property
    def target(self) -> list[Any]:
        """The gold values."""
        return self.gold.values

    def summands(self) -> Summands:
        """Each sample's contribution to the figure of the set.

        Raises:
            DataError: If a gold value cannot be read.
        """
        if self.sentiments is not None:
            return weighted_f1_summands(self.sentiments, self.target, mode=self.mode)
        form = hit_rate_summands if self.test_set.task == "discrete" else wheel_f1_summands
        return form(self.labels, self.target, self.wheel, mode=self.mode)

    def skill_summands(self) -> Summands:
        """Each sample's contribution to the hits above chance, for sets with one true label per sample.

        Raises:
            DataError: If a gold value cannot be read.
        """
        return hit_skill_summands(self.labels, self.target, self.wheel, mode=self.mode)


def read_pairing(
    test_set: TestSet,
    predictions: str | os.PathLike[str] | Answers,
    gold: str | os.PathLike[str] | Gold,
    mode: Mode,
    column: str | None = None,
    gold_column: str | None = None,
) -> Pairing:
    """Read both files, and check that the predictions are not the gold labels and that the names match.

    Args:
        test_set: The set that they are scored on.
        predictions: The file of predictions, or predictions that are already in memory.
        gold: The gold labels: a path, see ``read_labels``, or labels that are already in memory.
        mode: ``official`` or ``strict``.
        column: The column of the predictions; by default the only one with a name that answers usually have.
        gold_column: The column of the gold labels; by default the only one with a name that they usually have.

    Raises:
        DataError: If a file is missing or damaged, names are repeated, the predictions are the gold labels, have names
            that the gold lacks, or (``official``) lack names of the gold.
    """
    if isinstance(predictions, Answers):
        answers = predictions
    else:
        answers = read_predictions(predictions, want_sentiment=test_set.task == "sentiment", column=column)
    labels = gold.labels if isinstance(gold, Gold) else read_labels(test_set, gold, gold_column)
    _refuse_gold(answers, labels, is_named=column is not None)
    missing = _match(answers, labels, mode)
    return Pairing(test_set, answers, labels, {name: answers.values.get(name) for name in labels.values}, missing)


def _sentiment_in(text: str) -> str:
    """The sentiment as written, without surrounding thoughts, tags and JSON."""
    reply = read_answer(text, SENTIMENT_KEYS)
    if not reply.is_wrapped:
        return text
    return " ".join([reply.text] if reply.items is None else reply.items).strip().lower()


def _refuse_gold(answers: Answers, gold: Answers, *, is_named: bool) -> None:
    """Reject predictions that are the gold labels themselves.

    Raises:
        DataError: If the answers are the column of the gold labels, in the same file or in a copy, or are equal to them
            letter by letter in a column that gold labels could have and that the user did not name.
    """
    advice = "give the file with the system's answers, or name their column with --column"
    # A set's own file holds no answers, whatever the names of its columns.
    same_column = gold.column in (answers.column, "")
    if same_column and is_same_content(Path(answers.source), Path(gold.source)):
        column = f" (column {answers.column!r})" if gold.column else ""
        raise DataError(f"{answers.source} holds the gold labels themselves{column}; {advice}")
    undecided = answers.column in (*UNDECIDED_COLUMNS, *GOLD_COLUMNS) and not is_named
    if undecided and answers.values and all(answers.values[n] == gold.values.get(n) for n in answers.values):
        raise DataError(
            f"{answers.source}: every value in the column {answers.column!r} is the gold label of {gold.source}; if "
            f"they are answers nevertheless, confirm it with --column {answers.column}, else {advice}"
        )


def _match(answers: Answers, gold: Answers, mode: Mode) -> list[str]:
    """The gold names without a prediction, after a check that the predictions have no other names."""
    extra = [name for name in answers.values if name not in gold.values]
    missing = [name for name in gold.values if name not in answers.values]
    problems = []
    if extra:
        problems.append(f"{len(extra)} names of {answers.source} are not in the gold: {first_few(extra)}")
    if missing and mode == "official":
        problems.append(
            f"{len(missing)} names of the gold have no prediction in {answers.source}: {first_few(missing)}"
        )
    if problems:
        advice = "" if extra else ". Mode 'strict' counts missing predictions as empty"
        raise DataError("; ".join(problems) + f" (gold: {gold.source}){advice}")
    if not gold.values:
        raise DataError(f"{gold.source} holds no sample")
    return missing
