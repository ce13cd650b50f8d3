"""Read predictions and gold labels from ``.npz``, ``.jsonl`` and ``.csv`` files."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.bench.answer_column import (
    ITEM_COLUMNS,
    SENTIMENT_COLUMNS,
    Kind,
    answer_columns,
    choose_answer,
    choose_gold,
    kind_of,
    plain_name,
)
from affectgpt.errors import DataError, first_few
from affectgpt.files import digest_of_file
from affectgpt.manifests.text_tables import read_table
from affectgpt.metrics.npz import read_npz
from affectgpt.text import clean_name

NAME_COLUMNS = ("name", "key", "id", "video", "filename", "filenames", "names")


@dataclass(frozen=True)
class _Absent:
    """Marks a key that a line of a ``.jsonl`` file lacks and other lines have."""

    line: int


@dataclass(frozen=True)
class Answers:
    """Values by sample name.

    Attributes:
        values: Sample name to raw value.
        column: The column or array of the values; empty for a set's own labels.
        source: The file.
        kind: The kind of answers, if the values are answers.
    """

    values: Mapping[str, Any]
    column: str
    source: str
    kind: Kind = "labels"

    @property
    def is_free_text(self) -> bool:
        """Whether the values are whole answers, not lists of labels."""
        return self.kind == "text"

    @property
    def is_sentiment(self) -> bool:
        """Whether the values are positive, negative or neutral."""
        return self.kind == "sentiment"


def read_predictions(
    path: str | os.PathLike[str], *, want_sentiment: bool = False, column: str | None = None
) -> Answers:
    """Read predictions.

    ``.csv`` and ``.jsonl`` have a column for the name (``name``, ``key``, ``id``, ...) and one for the answer:
    ``openset`` or ``labels`` (a list, or a string such as "[happy, sad]"), ``text`` (the whole answer) or
    ``sentiment``. ``.npz`` holds a dict of name to answer (``name2openset``, ``name2reason``, ``name2sentiment``, ...)
    or an array of names beside one of answers (``filenames`` and ``fileitems``: labels, or sentiments where the file's
    name ends in ``-sentiment``).

    Args:
        path: The file.
        want_sentiment: Whether sentiments are wanted, or labels to derive them from.
        column: The column with the answers; by default the only one with a name that answers usually have.

    Raises:
        DataError: If the file is missing or damaged, no column fits or several do, or a name is repeated.
    """
    path = Path(path)
    columns = _columns(path, "predictions")
    chosen = choose_answer(_without_alternatives(columns), str(path), want_sentiment=want_sentiment, named=column)
    values = _values(path, columns, chosen)
    # Only the file names of the authors' files tell labels from sentiments.
    if chosen in ITEM_COLUMNS and path.stem.endswith("-sentiment"):
        chosen = SENTIMENT_COLUMNS[0]
    return Answers(values, chosen, str(path), kind_of(chosen, values))


def read_gold(path: str | os.PathLike[str], *, column: str | None = None) -> Answers:
    """Read gold labels from the same kinds of files.

    The value is in a column ``label`` (or ``gold``, ``openset``, ``score``, ...).

    Args:
        path: The file.
        column: The column with the gold labels; by default the only one with a name that they usually have.

    Raises:
        DataError: If the file is missing or damaged, no column fits or several do, or a name is repeated.
    """
    path = Path(path)
    columns = _columns(path, "gold labels")
    chosen = choose_gold(columns, str(path), named=column)
    return Answers(_values(path, columns, chosen), chosen, str(path))


def is_same_content(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, or to files that are equal byte by byte."""
    if not first.is_file() or not second.is_file():
        return False
    if first.samefile(second):
        return True
    return first.stat().st_size == second.stat().st_size and digest_of_file(first) == digest_of_file(second)


def column_names(path: Path) -> list[str]:
    """The names of a file's columns, from the first line alone in ``.jsonl``; empty if they cannot be read."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as arrays:
                return [name.removesuffix(".npy") for name in arrays.namelist()]
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                return next(csv.reader(file), [])
            row = json.loads(next((line for line in file if line.strip()), "{}"))
    except (OSError, ValueError, zipfile.BadZipFile, csv.Error, RecursionError):
        return []
    return list(row) if isinstance(row, dict) else []


def _columns(path: Path, what: str) -> Mapping[str, Any]:
    """The values of a file by the plain name of their column."""
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {state}; expected the file with the {what} (.npz, .jsonl or .csv)")
    readers = {".npz": _npz_columns, ".jsonl": _jsonl_columns, ".csv": _csv_columns}
    if path.suffix not in readers:
        raise DataError(f"{path} ends in {path.suffix!r}; {what} are read from .npz, .jsonl and .csv")
    columns = readers[path.suffix](path)
    _refuse_twins(path, columns)
    return {plain_name(name): values for name, values in columns.items()}


def _without_alternatives(columns: Mapping[str, Any]) -> list[str]:
    """Leave out columns that could hold the answer but never occur in one line with another that could.

    They are not to be chosen from: the first of them lacks values, and is rejected for that.
    """
    first, *others = answer_columns(columns) or [""]
    rows = {name: [not isinstance(cell, _Absent) for cell in columns[name]] for name in (first, *others) if name}
    apart = [name for name in others if not any(a and b for a, b in zip(rows[first], rows[name], strict=False))]
    return [name for name in columns if name not in apart]


def _refuse_twins(path: Path, names: Iterable[str]) -> None:
    counts = Counter(map(plain_name, names))
    twins = [name for name, count in counts.items() if name and count > 1]
    if twins:
        raise DataError(f"{path} has several columns called {', '.join(twins)} (case aside); rename all but one")


def _values(path: Path, columns: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    values = columns[column]
    if not isinstance(values, Mapping):
        name_column = next((c for c in NAME_COLUMNS if c in columns), None)
        if name_column is None:
            raise DataError(
                f"{path} has {', '.join(columns)}; expected the samples' names in {', '.join(NAME_COLUMNS)}"
            )
        for key in (name_column, column):
            gap = next((cell for cell in columns[key] if isinstance(cell, _Absent)), None)
            if gap is not None:
                advice = "write null where there is no answer" if key == column else "every sample needs one"
                raise DataError(f"{path}, line {gap.line} has no {key!r}, which other lines have; {advice}")
        values = _by_name(path, [clean_name(str(n)) for n in columns[name_column]], values)
    else:
        values = _by_name(path, [clean_name(str(n)) for n in values], list(values.values()))
    return {name: _plain(value) for name, value in values.items()}


def _by_name(path: Path, names: Sequence[str], values: Sequence[Any]) -> Mapping[str, Any]:
    if len(names) != len(values):
        raise DataError(f"{path} has {len(names)} names, but {len(values)} values")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{path} repeats {len(repeated)} names: {first_few(repeated)}. Each may occur once")
    return dict(zip(names, values, strict=True))


def _npz_columns(path: Path) -> Mapping[str, Any]:
    return read_npz(path)


def _csv_columns(path: Path) -> Mapping[str, Any]:
    table = read_table(path)
    rows = table.dicts()
    return {name: [row[name] for row in rows] for name in table.columns if name}


def _jsonl_columns(path: Path) -> Mapping[str, Any]:
    rows: dict[int, dict[str, Any]] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as .jsonl: {error}") from error
    # Not splitlines(): it also cuts at marks such as U+2028, which may stand inside a JSON text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_each_key_once)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is {line[:60]!r}; expected an object with a name and an answer")
        rows[number] = row
    names = dict.fromkeys(key for row in rows.values() for key in row)
    return {name: [row.get(name, _Absent(number)) for number, row in rows.items()] for name in names}


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # json would keep only the last of them
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"it has the key {repeated!r} more than once")
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
