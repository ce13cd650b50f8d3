"""Reads a system's answers to the rows of a track, and finds those that are missing or cannot be handed in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.bench.answer_column import TEXT_COLUMNS, plain_name
from affectgpt.bench.extract import LabelExtractor, get_extractor
from affectgpt.bench.predictions import NAME_COLUMNS, column_names, read_predictions
from affectgpt.bench.submission.candidates import AskedRow, read_asked_rows
from affectgpt.bench.submission.challenge_tracks import Track
from affectgpt.errors import DataError
from affectgpt.metrics.final_answer import read_answer
from affectgpt.metrics.functional import parse_preference
from affectgpt.metrics.functional.emotion_classes import MER_CLASSES
from affectgpt.metrics.labels import is_missing, parse_labels
from affectgpt.metrics.npz import read_npz
from affectgpt.text import clean_name

PROBABILITIES = "emo_probs"
"""The array that the baseline of Track 1 writes: one row a clip, one column for each of the six emotions."""

SPELLINGS: Mapping[str, str] = {
    "anger": "angry",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "worry": "worried",
    "anxious": "worried",
    "surprised": "surprise",
}
"""Other words for the six emotions of Track 1."""


@dataclass(frozen=True)
class TrackAnswers:
    """The answers to the rows, in their order.

    Attributes:
        source: The file.
        values: Key of a row to its answer: one of the six emotions, a list of words, or a preference. Rows without a
            usable answer are not in it.
        problems: What is wrong, in words, to the keys it is wrong with.
        notes: What was taken otherwise than it is written.
    """

    source: str
    values: Mapping[str, Any]
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_track_answers(
    path: str | os.PathLike[str],
    track: Track,
    rows: Sequence[AskedRow],
    *,
    column: str | None = None,
    extractor: str | LabelExtractor = "template",
) -> TrackAnswers:
    """Read the answers to the rows of a track.

    Args:
        path: Predictions, see ``affectgpt.bench.read_predictions``, keyed as ``affectgpt pack`` keys the samples. Also
            an ``answer.csv``; and for Track 1 an ``.npz`` with ``emo_probs``.
        track: The track.
        rows: What is asked.
        column: The column of the answers; by default the track's own, or that which is called as answers are.
        extractor: What reads words out of whole answers (Track 2).

    Raises:
        DataError: If the file cannot be read.
    """
    path = Path(path)
    given, notes = _by_key(path, track, rows, column)
    asked = {row.key for row in rows}
    problems: dict[str, list[str]] = {
        "rows without an answer": [row.key for row in rows if row.key not in given],
        "names that nobody asked about": [key for key in given if key not in asked],
    }
    kept = {row.key: given[row.key] for row in rows if row.key in given}
    if track.number == 1:
        values, odd, more = _emotions(kept)
    elif track.number == 2:
        values, odd, more = _words(kept, path, column, extractor)
    else:
        values, odd, more = _preferences(kept)
    problems |= odd
    return TrackAnswers(str(path), values, {what: keys for what, keys in problems.items() if keys}, (*notes, *more))


Read = tuple[dict[str, Any], dict[str, list[str]], list[str]]


def _by_key(
    path: Path, track: Track, rows: Sequence[AskedRow], column: str | None
) -> tuple[Mapping[str, Any], list[str]]:
    """The raw answers by the key of the row."""
    columns = {plain_name(name) for name in column_names(path)}
    if track.number == 1 and path.suffix == ".npz" and PROBABILITIES in columns:
        return _from_probabilities(path, rows)
    if track.number == 3 and path.suffix == ".csv" and {"a1", "a2"} <= columns:
        return _from_pairs(path, track, rows, column), []
    if column is None and track.column in columns:
        column = track.column
    elif column is None and track.number == 3:  # a file of ours has labels too, which say nothing here
        column = next((name for name in TEXT_COLUMNS if name in columns), None)
    return read_predictions(path, column=column).values, []


def _from_probabilities(path: Path, rows: Sequence[AskedRow]) -> tuple[Mapping[str, Any], list[str]]:
    arrays = read_npz(path)
    table = np.asarray(arrays[PROBABILITIES])
    if table.ndim != 2 or table.shape[1] != len(MER_CLASSES) or not np.issubdtype(table.dtype, np.number):
        raise DataError(
            f"{path}: {PROBABILITIES} has the shape {list(table.shape)}; expected one column for each of "
            f"{', '.join(MER_CLASSES)}"
        )
    if np.isnan(table).any():
        raise DataError(f"{path}: {PROBABILITIES} holds NaN in row {int(np.isnan(table).any(1).argmax())}")
    said = [MER_CLASSES[place] for place in table.argmax(1).tolist()]
    named = next((name for name in NAME_COLUMNS if name in arrays), None)
    names = [row.key for row in rows] if named is None else [clean_name(str(name)) for name in arrays[named]]
    if len(names) != len(said) or len(set(names)) != len(names):
        raise DataError(f"{path} has {len(said)} rows of {PROBABILITIES} for {len(set(names))} different names")
    note = f"{path} names no clips: its rows were taken in the order of the list of candidates"
    return dict(zip(names, said, strict=True)), [note] if named is None else []


def _from_pairs(path: Path, track: Track, rows: Sequence[AskedRow], column: str | None) -> Mapping[str, Any]:
    """Answers that name the two descriptions too; equal rows have equal answers, or none that counts."""
    by_identity: dict[tuple[str, ...], set[str | None]] = {}
    for row in read_asked_rows(path, track):
        by_identity.setdefault(row.identity(track), set()).add(row.cells.get(column or track.column))
    known = {row.identity(track) for row in rows}
    found = {row.key: by_identity[row.identity(track)] for row in rows if row.identity(track) in by_identity}
    strangers = {" | ".join(identity): None for identity in by_identity if identity not in known}
    return strangers | {key: next(iter(said)) if len(said) == 1 else None for key, said in found.items()}


def _emotions(given: Mapping[str, Any]) -> Read:
    values: dict[str, Any] = {}
    odd: list[str] = []
    respelt = 0
    for key, value in given.items():
        labels = _labels(value)
        found = {SPELLINGS.get(label, label) for label in labels} & set(MER_CLASSES)
        if len(found) == 1:
            values[key] = found.pop()
            respelt += values[key] not in labels
        else:
            odd.append(key)
    notes = [f"{respelt} answers were spelt otherwise, such as sadness for sad"] if respelt else []
    return values, {f"answers that are not one of {', '.join(MER_CLASSES)}": odd}, notes


def _words(given: Mapping[str, Any], path: Path, column: str | None, extractor: str | LabelExtractor) -> Read:
    if read_predictions(path, column=column).is_free_text:
        reader = get_extractor(extractor) if isinstance(extractor, str) else extractor
        texts = [value if isinstance(value, str) else "" for value in given.values()]
        lists = dict(zip(given, reader.extract(texts), strict=True))
    else:
        lists = {key: _labels(value) for key, value in given.items()}
    values = {key: words for key, words in lists.items() if words}
    return dict(values), {"answers without a word": [key for key in lists if key not in values]}, []


def _preferences(given: Mapping[str, Any]) -> Read:
    read = {key: parse_preference(value if isinstance(value, str) else None) for key, value in given.items()}
    values: dict[str, Any] = {key: answer for key, answer in read.items() if answer is not None}
    return values, {"answers that name neither a1, a2 nor same": [k for k in read if k not in values]}, []


def _labels(value: Any) -> list[str]:
    """The words of an answer; none where it is no answer."""
    if isinstance(value, str) and (reply := read_answer(value)).is_wrapped:
        value = reply.text if reply.items is None else list(reply.items)
    if not isinstance(value, (str, list, tuple)) or is_missing(value):
        return []
    return [label for label in parse_labels(value) if isinstance(label, str)]
