"""EEmo-Bench: questions about the emotions that an image evokes, their ranking, and valence, arousal and dominance."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affectgpt.bench.external.answer_reading import number_of, option_of, ranking_of
from affectgpt.bench.external.answer_rows import AnswerSource, Row, answer_of
from affectgpt.bench.external.measures import pearson, spearman
from affectgpt.bench.external.task_result import TaskFigures
from affectgpt.bench.external.tasks import DIMENSIONS, OtherTask
from affectgpt.errors import DataError
from affectgpt.metrics.labels import Mode

Joined = Sequence[tuple[str, Row | None, Row]]
_SAME_RANK, _OTHER_RANK = 1.0, 0.5


def score(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> TaskFigures:
    """Figures of one of the three tasks; the modes treat unreadable answers differently."""
    form = {"eemo-perception": _perception, "eemo-ranking": _ranking, "eemo-assessment": _assessment}[task.name]
    return form(task, rows, mode, source)


@dataclass(frozen=True)
class _Question:
    key: str
    kind: str
    carrier: str
    dimension: str | None
    options: Mapping[str, str]
    gold: str
    answer: Any


def _perception(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> TaskFigures:
    """Accuracy; an answer that names no option is wrong, and in mode strict so is one that names several."""
    questions = [one for key, answer, gold_row in rows for one in _questions(key, answer, gold_row, source)]
    if not questions:
        raise DataError("no row has a question with options; expected EEmo-Bench's question files")
    right, unreadable = [], []
    for one in questions:
        chosen = option_of(one.answer, one.options, last=mode == "official") if isinstance(one.answer, str) else None
        right.append(chosen == one.gold)
        if chosen is None:
            unreadable.append(one.key)
    groups: dict[str, dict[str, float]] = {}
    for title in ("kind", "carrier", "dimension"):
        names = dict.fromkeys(getattr(one, title) for one in questions if getattr(one, title) is not None)
        groups[f"by_{title}"] = {
            name: _mean([hit for hit, one in zip(right, questions, strict=True) if getattr(one, title) == name])
            for name in names
        }
    count = len(questions)
    return TaskFigures({"accuracy": _mean(right)}, count, tuple(unreadable), groups, gold_samples=count)


def _questions(key: str, answer: Row | None, gold_row: Row, source: AnswerSource) -> Iterator[_Question]:
    """The one question in a row of the leaderboard's files, or the two in a row of the label files."""
    pair = any(name in gold_row for name in ("image2_url", "image2"))
    carrier = "pair" if pair else "single"
    if "correct_answer" in gold_row and "options" in gold_row:
        found = None if answer is None else answer_of(answer, source)
        kind, dimension = str(gold_row.get("question_type", "question")), gold_row.get("perceptual_dimension")
        yield _Question(
            key, kind, carrier, dimension, _options(gold_row["options"], key), str(gold_row["correct_answer"]), found
        )
        return
    for question, kind in (("judge", "Yes-or-No"), ("choose", "What/How")):
        options = gold_row.get(f"{question}_A", gold_row.get(f"{question}_options"))
        gold = gold_row.get(f"{question}_answer")
        if options is not None and gold is not None:
            found = None if answer is None else answer_of(answer, source, question)
            yield _Question(f"{key}/{question}", kind, carrier, None, _options(options, key), str(gold), found)


def _options(value: Any, key: str) -> Mapping[str, str]:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = None
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"sample {key!r}: its options are {value!r}; expected letters with texts")
    return {str(letter): str(text) for letter, text in value.items()}


def _ranking(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> TaskFigures:
    """Credit for ranks; official leaves out answers without an emotion, strict gives them no credit."""
    credit, exact, first, shared, unreadable = [], [], [], [], []
    for key, answer, gold_row in rows:
        gold = [str(pair[0]).lower() for pair in gold_row.get("emotion_list") or []]
        if not gold or any(one not in task.labels for one in gold):
            raise DataError(
                f"sample {key!r}: its emotion_list is {gold_row.get('emotion_list')!r}; expected [emotion, votes] pairs"
            )
        said = None if answer is None else answer.get("predict_emotion_list", answer.get("predict_emotion_all"))
        if said is None and answer is not None:
            said = answer_of(answer, source, "ranking") or answer_of(answer, source)
        given = ranking_of(said if isinstance(said, str) else " ".join(map(str, said or ())), task.labels)
        if given is None:
            unreadable.append(key)
            if mode == "official":
                continue
        ranks = [*(given or []), *[""] * len(gold)][: len(gold)]
        hits = [_SAME_RANK if g == r else _OTHER_RANK if r in gold else 0.0 for g, r in zip(gold, ranks, strict=True)]
        credit.append(_mean(hits))
        exact.append(ranks == gold)
        first.append(ranks[0] == gold[0])
        shared.append(len(set(ranks) & set(gold)) / len(gold))
    figures = {
        "rank_credit": _mean(credit),
        "exact_order": _mean(exact),
        "first_emotion": _mean(first),
        "shared_emotions": _mean(shared),
    }
    return TaskFigures(figures, len(credit), tuple(unreadable))


def _assessment(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> TaskFigures:
    """Correlations; official leaves out answers without a number, strict replaces them by the mean of the others."""
    figures: dict[str, float] = {}
    unreadable: dict[str, None] = {}
    for dimension in DIMENSIONS:
        gold, said = [], []
        for key, answer, gold_row in rows:
            gold.append(_gold_level(gold_row, dimension, key))
            said.append(None if answer is None else _level(answer, dimension))
            if said[-1] is None:
                unreadable[key] = None
        known = [value for value in said if value is not None]
        if mode == "official":
            pairs = [(g, s) for g, s in zip(gold, said, strict=True) if s is not None]
        else:
            middle = _mean(known) if known else 0.0
            pairs = [(g, middle if s is None else s) for g, s in zip(gold, said, strict=True)]
        first, second = [g for g, _ in pairs], [s for _, s in pairs]
        figures[f"{dimension}_srcc"] = spearman(first, second)
        figures[f"{dimension}_plcc"] = pearson(first, second)
    srcc = [figures[f"{dimension}_srcc"] for dimension in DIMENSIONS]
    plcc = [figures[f"{dimension}_plcc"] for dimension in DIMENSIONS]
    count = len(rows) if mode == "strict" else len(rows) - len(unreadable)
    means = {"mean_correlation": _mean([*srcc, *plcc]), "srcc": _mean(srcc), "plcc": _mean(plcc)}
    return TaskFigures({**means, **figures}, count, tuple(unreadable))


def _gold_level(gold_row: Row, dimension: str, key: str) -> float:
    """Read the mean over annotators, which comes first in the list of mean, deviation and range."""
    value = gold_row.get(dimension.capitalize())
    level = number_of(value[0] if isinstance(value, list) and value else value)
    if level is None:
        raise DataError(f"sample {key!r}: its {dimension.capitalize()} is {value!r}; expected a score")
    return level


def _level(answer: Row, dimension: str) -> float | None:
    names = (f"{dimension}_predict", f"predict_{dimension}_all", dimension)
    return next((level for name in names if (level := number_of(answer.get(name))) is not None), None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
