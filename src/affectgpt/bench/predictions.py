"""Read predictions and gold labels from ``.npz``, ``.jsonl`` and ``.csv`` files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.errors import DataError, first_few
from affectgpt.manifests.text_tables import read_table
from affectgpt.metrics.npz import read_npz

NAME_COLUMNS = ("name", "key", "id", "video", "filename", "filenames", "names")
GOLD_COLUMNS = ("label", "gold", "labels", "openset", "emotion", "score", "val")
ITEM_COLUMNS = ("fileitems", "items")
LABEL_COLUMNS = ("openset", "labels", "label", "prediction", "predictions", "pred", *ITEM_COLUMNS)
TEXT_COLUMNS = ("text", "answer", "reason", "response", "sentence", "description")
SENTIMENT_COLUMNS = ("sentiment",)
_SHOWN = 5


@dataclass(frozen=True)
class _Absent:
    """Stands for a key that a line of a ``.jsonl`` file lacks, and other lines have."""

    line: int


@dataclass(frozen=True)
class Answers:
    """Values by sample name.

    Attributes:
        values: Sample name to its raw value.
        column: The column or array that the values come from.
        source: The file.
    """

    values: Mapping[str, Any]
    column: str
    source: str

    @property
    def is_free_text(self) -> bool:
        """Whether the values are whole answers, not lists of labels."""
        return self.column in TEXT_COLUMNS

    @property
    def is_sentiment(self) -> bool:
        """Whether the values are positive, negative or neutral."""
        return self.column in SENTIMENT_COLUMNS


def read_predictions(path: str | os.PathLike[str], *, want_sentiment: bool = False) -> Answers:
    """Read predictions.

    ``.csv`` and ``.jsonl`` have a column for the name (``name``, ``key``, ``id``, ...) and one for the answer:
    ``openset`` or ``labels`` (a list, or a text such as "[happy, sad]"), ``text`` (the whole answer), ``sentiment``.
    ``.npz`` holds a dict of name to answer (``name2openset``, ``name2reason``, ``name2sentiment``, ...) or an array of
    names beside one of answers (``filenames`` and ``fileitems``: labels, or sentiments where the file's name ends in
    ``-sentiment``).

    Args:
        path: The file.
        want_sentiment: Prefer sentiments over labels where the file has both.

    Raises:
        DataError: If the file is missing or damaged, has no such columns, or repeats a name.
    """
    order = (LABEL_COLUMNS, TEXT_COLUMNS, SENTIMENT_COLUMNS)
    wanted = [*SENTIMENT_COLUMNS, *LABEL_COLUMNS, *TEXT_COLUMNS] if want_sentiment else [c for cs in order for c in cs]
    return _read(Path(path), wanted, "predictions")


def read_gold(path: str | os.PathLike[str]) -> Answers:
    """Read gold labels: the same files, the value in a column ``label`` (or ``gold``, ``openset``, ``score``, ...).

    Raises:
        DataError: If the file is missing or damaged, has no such columns, or repeats a name.
    """
    return _read(Path(path), GOLD_COLUMNS, "gold labels")


def _read(path: Path, wanted: Sequence[str], what: str) -> Answers:
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {state}; expected the file with the {what} (.npz, .jsonl or .csv)")
    readers = {".npz": _npz_columns, ".jsonl": _jsonl_columns, ".csv": _csv_columns}
    if path.suffix not in readers:
        raise DataError(f"{path} ends in {path.suffix!r}; {what} are read from .npz, .jsonl and .csv")
    columns = readers[path.suffix](path)
    lower = {name.lower().removeprefix("name2"): values for name, values in columns.items()}
    column = next((c for c in wanted if c in lower), None)
    if column is None:
        raise DataError(f"{path} has {', '.join(columns) or 'no rows'}; expected one of {', '.join(wanted)}")
    values = lower[column]
    if not isinstance(values, Mapping):
        name_column = next((c for c in NAME_COLUMNS if c in lower), None)
        if name_column is None:
            raise DataError(
                f"{path} has {', '.join(columns)}; expected the samples' names in {', '.join(NAME_COLUMNS)}"
            )
        for key in (name_column, column):
            gap = next((cell for cell in lower[key] if isinstance(cell, _Absent)), None)
            if gap is not None:
                advice = "write null where there is no answer" if key == column else "every sample needs one"
                raise DataError(f"{path}, line {gap.line} has no {key!r}, which other lines have; {advice}")
        values = _by_name(path, [str(n).strip() for n in lower[name_column]], values)
    if column in ITEM_COLUMNS and path.stem.endswith("-sentiment"):
        column = SENTIMENT_COLUMNS[0]  # the authors' files tell labels from sentiments by nothing but their names
    return Answers({str(name): _plain(value) for name, value in values.items()}, column, str(path))


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
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read as .jsonl: {error}") from error
    # Not splitlines(): it also cuts at marks such as U+2028, which may stand inside a JSON text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is {line[:60]!r}; expected an object with a name and an answer")
        rows[number] = row
    names = dict.fromkeys(key for row in rows.values() for key in row)
    return {name: [row.get(name, _Absent(number)) for number, row in rows.items()] for name in names}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
