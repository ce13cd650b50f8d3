"""Scores answers on the tasks of MIntRec, HitEmotion and EEmo-Bench."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectgpt.bench.external import answer_reading as reading
from affectgpt.bench.external import eemo
from affectgpt.bench.external.answer_rows import (
    AnswerSource,
    Row,
    answer_of,
    check_source,
    choose_source,
    gold_of,
    join_gold,
    read_rows,
)
from affectgpt.bench.external.measures import class_figures, set_figures
from affectgpt.bench.external.task_result import TaskFigures, TaskResult
from affectgpt.bench.external.tasks import OtherTask, get_other
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.labels import MODES, Mode, check_mode

Joined = Sequence[tuple[str, Row | None, Row]]


def score_other(
    name: str,
    predictions: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    gold: str | os.PathLike[str] | None = None,
    mode: str = "official",
    system: str | None = None,
    column: str | None = None,
) -> TaskResult:
    """Score answers on a task of another benchmark.

    ``official`` reads answers as the published script does, and leaves unreadable ones out if that script does
    (HitEmotion). ``strict`` reads tolerantly and counts every sample: an unreadable answer is wrong.

    Args:
        name: One of ``OTHERS``.
        predictions: ``.json``, ``.jsonl``, ``.csv`` or ``.tsv``: an ``id`` (or ``name``, ...) and a ``model_output``
            (or ``answer``, ``text``, ``response``, ...); or a result file of the benchmark's own scripts. Several
            files, such as EEmo-Bench's single images and pairs, must include their gold labels.
        gold: The file with the true labels, if the answers do not include them: the benchmark's own, or any table with
            ``id`` and ``label``.
        mode: The mode of the score; the result has the figures of both.
        system: Name of the system, if a file has the answers of several.
        column: The column of the answers; by default the only one with a name that answers usually have.

    Raises:
        ConfigError: If the task or the mode does not exist, or several files come with a gold file.
        DataError: If a file is damaged, names do not match, or a gold label is not one of the task's.
    """
    task, known_mode = get_other(name), check_mode(mode)
    paths = [Path(p) for p in ([predictions] if isinstance(predictions, str | os.PathLike) else predictions)]
    if len(paths) != 1 and gold is not None:
        raise ConfigError(f"got {len(paths)} files of answers and a gold file; several files must include their gold")
    answers = [read_rows(path) for path in paths]
    rows_of_all, where = [row for one in answers for row in one], ", ".join(map(str, paths))
    source = choose_source(rows_of_all, where, column=column, system=system)
    if task.name.partition("-")[0] != "eemo":  # EEmo-Bench's answers have columns of their own
        check_source(rows_of_all, where, source)
    labels = None if gold is None else read_rows(gold)
    read = [join_gold(one, labels, str(path)) for one, path in zip(answers, paths, strict=True)]
    several = len(paths) > 1
    rows = [
        (f"{path.name}/{key}" if several else key, answer, gold_row)
        for path, joined in zip(paths, read, strict=True)
        for key, answer, gold_row in joined
    ]
    other: Mode = next(one for one in MODES if one != known_mode)
    score = _SCORERS[name.partition("-")[0]]
    figures = score(task, rows, known_mode, source)
    return TaskResult(
        task=task,
        mode=known_mode,
        answers=source.system or source.column,
        figures=figures,
        other_mode=other,
        other=score(task, rows, other, source),
        gold_samples=len(rows) if figures.gold_samples is None else figures.gold_samples,
        missing=tuple(key for key, answer, _ in rows if answer is None),
        predictions=tuple(map(str, paths)),
    )


def _mintrec(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> TaskFigures:
    """Exact match of strings; ``official`` compares them unchanged except for surrounding spaces."""
    gold, found, unreadable = [], [], []
    for key, answer, gold_row in rows:
        label = reading.match_label(str(gold_of(gold_row)), task.labels)
        if label is None:
            raise DataError(
                f"sample {key!r}: the gold intent is {gold_of(gold_row)!r}; expected one of {', '.join(task.labels)}"
            )
        text = "" if answer is None else str(answer_of(answer, source) or "")
        tolerant = reading.match_label(reading.final_answer(text), task.labels)
        # the text unchanged, except that the gold label itself may have another case or spelling
        unchanged = label if text.strip() in (label, str(gold_of(gold_row)).strip()) else text.strip()
        gold.append(label)
        found.append(unchanged or None if mode == "official" else tolerant)
        if tolerant is None:
            unreadable.append(key)
    return TaskFigures(class_figures(gold, found), len(gold), tuple(unreadable))


def _hitemotion(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> TaskFigures:
    """Official: the published script's reading, over the answers that it can read; strict: tolerant, over all."""
    readers: Mapping[str, Callable[[str, Sequence[str]], Any]] = {
        "hitemotion-eer": reading.emotion_official if mode == "official" else reading.emotion_tolerant,
        "hitemotion-fesd": reading.sentiment_official if mode == "official" else reading.emotion_tolerant,
        "hitemotion-dptm": reading.techniques_official if mode == "official" else reading.techniques_tolerant,
    }
    many = task.name == "hitemotion-dptm"
    gold: list[Any] = []
    found: list[Any] = []
    unreadable = []
    for key, answer, gold_row in rows:
        text = "" if answer is None else str(answer_of(answer, source) or "")
        read = readers[task.name](text, task.labels) if text else None
        if read is None:
            unreadable.append(key)
            if mode == "official":
                continue
        gold.append(_techniques(task, gold_of(gold_row), key) if many else _one_label(task, gold_of(gold_row), key))
        found.append((read or []) if many else read)
    figures = set_figures(gold, found, task.labels) if many else class_figures(gold, found)
    return TaskFigures(figures, len(gold), tuple(unreadable))


def _one_label(task: OtherTask, value: Any, key: str) -> str:
    label = reading.match_label(value, task.labels) if isinstance(value, str) else None
    if label is None:
        raise DataError(f"sample {key!r}: the gold label is {value!r}; expected one of {', '.join(task.labels)}")
    return label


def _techniques(task: OtherTask, value: Any, key: str) -> list[str]:
    listed = value.get("techniques") if isinstance(value, Mapping) else value
    if not isinstance(listed, list):
        raise DataError(f"sample {key!r}: the gold is {value!r}; expected a list of techniques")
    return [_one_label(task, one, key) for one in listed]


_SCORERS: Mapping[str, Callable[[OtherTask, Joined, Mode, AnswerSource], TaskFigures]] = {
    "mintrec": _mintrec,
    "hitemotion": _hitemotion,
    "eemo": eemo.score,
}
