"""Reads a system's answers to the rows of a track, and finds those that are missing or invalid."""

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
from affectgpt.bench.submission.challenge_tracks import TRACKS, Track
from affectgpt.errors import DataError
from affectgpt.metrics.final_answer import read_answer
from affectgpt.metrics.functional import parse_preference
from affectgpt.metrics.functional.emotion_classes import MER_CLASSES
from affectgpt.metrics.labels import is_missing, parse_labels
from affectgpt.metrics.npz import read_npz
from affectgpt.text import clean_name

PROBABILITIES = "emo_probs"
"""The array that the baseline of Track 1 writes: one row per clip, one column for each of the six emotions."""

UNKNOWN_NAMES = "names that are not in the list"
"""The problem of answers without a row; ``fill`` cannot repair it."""

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
            valid answer are left out.
        problems: Problem, in words, to the keys that have it.
        notes: Notes on answers that were interpreted.
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
        rows: The rows to answer.
        column: The column of the answers; by default the track's own, or one with a name that answers usually have.
        extractor: The extractor that reads words from whole answers (Track 2).

    Raises:
        DataError: If the file cannot be read.
    """
    path = Path(path)
    given, notes = _by_key(path, track, rows, column)
    asked = {row.key for row in rows}
    problems: dict[str, Sequence[str]] = {
        "rows without an answer": [row.key for row in rows if row.key not in given],
        UNKNOWN_NAMES: [key for key in given if key not in asked],
    }
    kept = {row.key: given[row.key] for row in rows if row.key in given}
    if track.number == 1:
        read = _emotions(kept)
    elif track.number == 2:
        read = _words(kept, path, column, extractor)
    else:
        read = _preferences(kept)
    problems[read.problem] = read.invalid
    found = {what: keys for what, keys in problems.items() if keys}
    return TrackAnswers(str(path), read.values, found, (*notes, *read.notes))


def read_pair_answers(path: Path, rows: Sequence[AskedRow], column: str | None = None) -> Mapping[str, Any]:
    """The answers to pairs of descriptions (Track 3) by the key of the row, unchanged; see ``read_track_answers``."""
    return _by_key(path, TRACKS[3], rows, column)[0]


@dataclass(frozen=True)
class _Read:
    """The answers as the track takes them.

    Attributes:
        values: Key of a row to its valid answer.
        problem: What is wrong with the other answers, in words.
        invalid: Keys of these rows.
        notes: Notes on answers that were interpreted.
    """

    values: Mapping[str, Any]
    problem: str
    invalid: Sequence[str]
    notes: tuple[str, ...] = ()


def _by_key(
    path: Path, track: Track, rows: Sequence[AskedRow], column: str | None
) -> tuple[Mapping[str, Any], list[str]]:
    """The raw answers by the key of the row, with notes."""
    columns = {plain_name(name) for name in column_names(path)}
    if track.number == 1 and path.suffix == ".npz" and PROBABILITIES in columns:
        return _from_probabilities(path, rows)
    if track.number == 3 and path.suffix == ".csv" and {"a1", "a2"} <= columns:
        return _from_pairs(path, track, rows, column), []
    if column is None and track.column in columns:
        column = track.column
    elif column is None and track.number == 3:  # our own files also have labels, which are irrelevant here
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
    said = [MER_CLASSES[column] for column in table.argmax(1).tolist()]
    named = next((name for name in NAME_COLUMNS if name in arrays), None)
    names = [row.key for row in rows] if named is None else [clean_name(str(name)) for name in arrays[named]]
    if len(names) != len(said) or len(set(names)) != len(names):
        raise DataError(f"{path} has {len(said)} rows of {PROBABILITIES} for {len(set(names))} different names")
    note = f"{path} does not name the clips: its rows were taken in the order of the list of candidates"
    return dict(zip(names, said, strict=True)), [note] if named is None else []


def _from_pairs(path: Path, track: Track, rows: Sequence[AskedRow], column: str | None) -> Mapping[str, Any]:
    """The answers of a file with both descriptions; equal rows must have equal answers, or their answer is invalid."""
    by_identity: dict[tuple[str, ...], set[str | None]] = {}
    for row in read_asked_rows(path, track):
        by_identity.setdefault(row.identity(track), set()).add(row.cells.get(column or track.column))
    known = {row.identity(track) for row in rows}
    found = {row.key: by_identity[row.identity(track)] for row in rows if row.identity(track) in by_identity}
    strangers = {" | ".join(identity): None for identity in by_identity if identity not in known}
    return strangers | {key: next(iter(said)) if len(said) == 1 else None for key, said in found.items()}


def _emotions(given: Mapping[str, Any]) -> _Read:
    values: dict[str, Any] = {}
    invalid: list[str] = []
    respelt = 0
    for key, value in given.items():
        labels = _labels(value)
        found = {SPELLINGS.get(label, label) for label in labels} & set(MER_CLASSES)
        if len(found) == 1:
            values[key] = found.pop()
            respelt += values[key] not in labels
        else:
            invalid.append(key)
    notes = (f"{respelt} answers used another spelling, such as sadness for sad",) if respelt else ()
    return _Read(values, f"answers that are not one of {', '.join(MER_CLASSES)}", invalid, notes)


def _words(given: Mapping[str, Any], path: Path, column: str | None, extractor: str | LabelExtractor) -> _Read:
    if read_predictions(path, column=column).is_free_text:
        reader = get_extractor(extractor) if isinstance(extractor, str) else extractor
        texts = [value if isinstance(value, str) else "" for value in given.values()]
        lists = dict(zip(given, reader.extract(texts), strict=True))
    else:
        lists = {key: _labels(value) for key, value in given.items()}
    values = {key: words for key, words in lists.items() if words}
    return _Read(values, "answers without a word", [key for key in lists if key not in values])


def _preferences(given: Mapping[str, Any]) -> _Read:
    read = {key: parse_preference(value if isinstance(value, str) else None) for key, value in given.items()}
    values = {key: answer for key, answer in read.items() if answer is not None}
    return _Read(values, "answers that name neither a1, a2 nor same", [key for key in read if key not in values])


def _labels(value: Any) -> list[str]:
    """The words of an answer; empty if it is not an answer."""
    if isinstance(value, str) and (reply := read_answer(value)).is_wrapped:
        value = reply.text if reply.items is None else list(reply.items)
    if not isinstance(value, (str, list, tuple)) or is_missing(value):
        return []
    return [label for label in parse_labels(value) if isinstance(label, str)]
