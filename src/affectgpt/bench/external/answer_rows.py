"""Reads the answer files of other benchmarks, and joins answers and gold."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError, first_few
from affectgpt.manifests.text_tables import read_table, read_text

Row = Mapping[str, Any]
ID_COLUMNS = ("id", "name", "key", "index", "video", "image_name")
ANSWER_COLUMNS = ("model_output", "answer", "text", "response", "prediction", "output")
GOLD_COLUMNS = ("ground_truth", "gold", "label", "labels", "intent")
_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Rows of a ``.json`` (a list of objects), ``.jsonl``, ``.csv`` or ``.tsv`` file.

    Raises:
        DataError: If the file is missing or damaged, or holds no such rows.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path} ends in {path.suffix!r}; answers and gold are read from {', '.join(_SUFFIXES)}")
    try:
        if path.suffix == ".json":
            rows = json.loads(read_text(path))
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in read_text(path).split("\n") if line.strip()]
        else:  # the published .tsv files have no quoting
            rows = list(read_table(path, quoted=path.suffix == ".csv").dicts())
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as {path.suffix}: {error}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} holds no rows; expected a list of objects, one for each sample")
    return rows


def key_of(row: Row, number: int) -> str:
    """The name of a row: an ``id`` or similar; in MIntRec's table season, episode and clip; else its number."""
    if all(name in row for name in ("season", "episode", "clip")):
        return "_".join(str(row[name]) for name in ("season", "episode", "clip"))
    return next((str(row[name]) for name in ID_COLUMNS if name in row), str(number))


@dataclass(frozen=True)
class AnswerSource:
    """Where the answer is in a row.

    Attributes:
        column: The column, if answers have their own.
        system: Name of the system, if a row holds the answers of several: ``response(NAME)``, ``NAME(judge)``.
    """

    column: str | None = None
    system: str | None = None


def choose_source(
    rows: Sequence[Row], where: str, *, column: str | None = None, system: str | None = None
) -> AnswerSource:
    """Find the answers: in the named column, or the only one with a name that answers usually have.

    Raises:
        DataError: If the column does not exist, several columns fit, or the name of the system is that of a gold
            column.
    """
    if system in GOLD_COLUMNS:
        raise DataError(f"{system!r} is a column of gold labels, not the name of a system; name another one")
    names = dict.fromkeys(key for row in rows for key in row)
    if column is not None:
        if column not in names:
            raise DataError(f"{where} has no column {column!r} (--column); it has {', '.join(names)}")
        return AnswerSource(column, system)
    found = [name for name in ANSWER_COLUMNS if name in names]
    if len(found) > 1 and system is None:
        raise DataError(f"{where}: several columns could be the answer: {', '.join(found)}; name one with --column")
    return AnswerSource(found[0] if found else None, system)


def check_source(rows: Sequence[Row], where: str, source: AnswerSource) -> None:
    """Reject rows that cannot hold an answer.

    Raises:
        DataError: If there is no column of answers, and no column of a named system.
    """
    several = any(re.fullmatch(r"response\(.+\)", key) or key == source.system for row in rows for key in row)
    if source.column is None and not several:
        raise DataError(
            f"{where} has no column with an answer; expected one of {', '.join(ANSWER_COLUMNS)}, or name it with "
            "--column"
        )


def answer_of(row: Row, source: AnswerSource, part: str = "") -> Any:
    """The answer in a row, ``None`` if there is none.

    Args:
        row: The row.
        source: Where the answer is.
        part: The kind of answer, if a system has several: ``judge``, ``choose`` or ``ranking``.

    Raises:
        DataError: If the row holds answers of several systems and the source names none, or only of other systems.
    """
    system = source.system
    pattern = rf"(.+)\({part}\)" if part else r"response\((.+)\)"
    named = {found.group(1): row[key] for key in row if (found := re.fullmatch(pattern, key))}
    if system is not None and system in named:
        return named[system]
    if system is not None and not part and system in row:
        return row[system]
    if named and system is not None:
        raise DataError(f"a row holds the answers of {', '.join(named)}, and none of {system}")
    if len(named) > 1:
        raise DataError(f"a row holds the answers of {', '.join(named)}; say which system is meant")
    if named:
        return next(iter(named.values()))
    return None if part or source.column is None else row.get(source.column)


def gold_of(row: Row) -> Any:
    """The gold value in a row: its own column, or the last turn of HitEmotion's conversations."""
    turns = row.get("conversations")
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict) and "value" in turns[-1]:
        return turns[-1]["value"]
    return next((row[name] for name in GOLD_COLUMNS if name in row), None)


def join_gold(answers: Sequence[Row], gold: Sequence[Row] | None, where: str) -> list[tuple[str, Row | None, Row]]:
    """Join rows by name: (name, answer or ``None``, gold), in the order of the gold.

    Args:
        answers: Rows with answers.
        gold: Rows with gold labels; ``None`` if the rows of the answers include them.
        where: The file of answers, for messages.

    Raises:
        DataError: If names are repeated, or answers have names that the gold lacks.
    """
    given = _by_key(answers, where)
    if gold is None:
        return [(key, row, row) for key, row in given.items()]
    wanted = _by_key(gold, "the gold")
    extra = [key for key in given if key not in wanted]
    if extra:
        raise DataError(f"{len(extra)} names of {where} are not in the gold: {first_few(extra)}")
    return [(key, given.get(key), row) for key, row in wanted.items()]


def _by_key(rows: Sequence[Row], where: str) -> dict[str, Row]:
    keys = [key_of(row, number) for number, row in enumerate(rows)]
    repeated = [key for key, count in Counter(keys).items() if count > 1]
    if repeated:
        raise DataError(f"{where} repeats {len(repeated)} names: {first_few(repeated)}; each may occur once")
    return dict(zip(keys, rows, strict=True))
