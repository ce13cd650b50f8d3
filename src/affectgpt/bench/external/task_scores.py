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
from affectgpt.bench.external.tasks import OtherTask, get_other
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.labels import MODES, Mode, check_mode

Joined = Sequence[tuple[str, Row | None, Row]]
Figures = dict[str, Any]


def score_other(
    name: str,
    predictions: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    gold: str | os.PathLike[str] | None = None,
    mode: str = "official",
    system: str | None = None,
    column: str | None = None,
) -> dict[str, Any]:
    """Score answers on a task of another benchmark.

    ``official`` reads answers as the published script does, and leaves out those that it cannot read, where that script
    does so (HitEmotion). ``strict`` reads tolerantly and counts every sample: what cannot be read is wrong.

    Args:
        name: One of ``OTHERS``.
        predictions: ``.json``, ``.jsonl``, ``.csv`` or ``.tsv``: an ``id`` (or ``name``, ...) and a ``model_output``
            (or ``answer``, ``text``, ``response``, ...); or a result file as the benchmark's own scripts write it.
            Several files, such as EEmo-Bench's single images and pairs, must hold their gold.
        gold: The file with the true labels, where they are not in the same file: the benchmark's own, or any table with
            ``id`` and ``label``.
        mode: Which figures stand at the top; the others are under the other mode's name.
        system: Name of the system, where a file holds the answers of several.
        column: The column of the answers; by default the only one that is called as answers are.

    Returns:
        Plain JSON: ``benchmark``, ``title``, ``metric``, ``score``, the figures by name, ``mode``, ``answers`` (the
        column or the system that was read), ``samples`` (that
        count), ``gold_samples``, ``expected_samples``, ``unreadable`` and ``missing`` (names), ``formula`` (what the
        figure is, where the publication leaves it open) and ``listed`` (the publicly listed figure of AffectGPT).
        Values are fractions.

    Raises:
        ConfigError: If the task or the mode does not exist, or several files come with one of gold.
        DataError: If a file is damaged, names do not fit, or a gold label is none of the task's.
    """
    task, known_mode = get_other(name), check_mode(mode)
    paths = [Path(p) for p in ([predictions] if isinstance(predictions, str | os.PathLike) else predictions)]
    if len(paths) != 1 and gold is not None:
        raise ConfigError(f"{len(paths)} files of answers, and one of gold; several files must hold their gold")
    answers = [read_rows(path) for path in paths]
    rows_of_all, where = [row for one in answers for row in one], ", ".join(map(str, paths))
    source = choose_source(rows_of_all, where, column=column, system=system)
    if task.name.partition("-")[0] != "eemo":  # whose answers have columns of their own
        check_source(rows_of_all, where, source)
    labels = None if gold is None else read_rows(gold)
    read = [join_gold(one, labels, str(path)) for one, path in zip(answers, paths, strict=True)]
    several = len(paths) > 1
    rows = [
        (f"{path.name}/{key}" if several else key, answer, gold_row)
        for path, part in zip(paths, read, strict=True)
        for key, answer, gold_row in part
    ]
    other: Mode = next(one for one in MODES if one != known_mode)
    score = _SCORERS[name.partition("-")[0]]
    figures = score(task, rows, known_mode, source)
    return {
        "benchmark": task.name,
        "title": task.title,
        "metric": task.metric,
        "score": figures[task.metric],
        "mode": known_mode,
        "answers": source.system or source.column,
        "gold_samples": figures.pop("gold_samples", len(rows)),
        "expected_samples": task.num_samples,
        **figures,
        "missing": [key for key, answer, _ in rows if answer is None],
        "formula": task.formula,
        "listed": None if task.listed is None else {"score": task.listed[0], "source": task.listed[1]},
        "predictions": [str(path) for path in paths],
        other: {key: value for key, value in score(task, rows, other, source).items() if key != "gold_samples"},
    }


def _mintrec(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> Figures:
    """Exact match of strings (``official``: as they stand, spaces at the ends aside)."""
    gold, found, unreadable = [], [], []
    for key, answer, gold_row in rows:
        label = reading.match_label(str(gold_of(gold_row)), task.labels)
        if label is None:
            raise DataError(
                f"sample {key!r}: the gold intent is {gold_of(gold_row)!r}, none of {', '.join(task.labels)}"
            )
        text = "" if answer is None else str(answer_of(answer, source) or "")
        tolerant = reading.match_label(reading.final_answer(text), task.labels)
        # As it stands, but a gold label in another case or spelling is the same label.
        as_it_stands = label if text.strip() in (label, str(gold_of(gold_row)).strip()) else text.strip()
        gold.append(label)
        found.append(as_it_stands or None if mode == "official" else tolerant)
        if tolerant is None:
            unreadable.append(key)
    return {**class_figures(gold, found), "samples": len(gold), "unreadable": unreadable}


def _hitemotion(task: OtherTask, rows: Joined, mode: Mode, source: AnswerSource) -> Figures:
    """Official: the published script's reading, over the answers that it can read. Strict: tolerant, over all."""
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
    return {**figures, "samples": len(gold), "unreadable": unreadable}


def _one_label(task: OtherTask, value: Any, key: str) -> str:
    label = reading.match_label(value, task.labels) if isinstance(value, str) else None
    if label is None:
        raise DataError(f"sample {key!r}: the gold label is {value!r}, none of {', '.join(task.labels)}")
    return label


def _techniques(task: OtherTask, value: Any, key: str) -> list[str]:
    listed = value.get("techniques") if isinstance(value, Mapping) else value
    if not isinstance(listed, list):
        raise DataError(f"sample {key!r}: the gold is {value!r}; expected a list of techniques")
    return [_one_label(task, one, key) for one in listed]


_SCORERS: Mapping[str, Callable[[OtherTask, Joined, Mode, AnswerSource], Figures]] = {
    "mintrec": _mintrec,
    "hitemotion": _hitemotion,
    "eemo": eemo.score,
}
