"""Reads the csv tables of the test sets, strictly, and finds media by the samples' names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from affectgpt.errors import DataError
from affectgpt.manifests.record import VIDEO_SUFFIXES
from affectgpt.manifests.text_tables import read_table


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a csv that has at least these columns (in any case); what is no UTF-8 is read as Windows-1252.

    Returns:
        One dict a row, column names in lower case.

    Raises:
        DataError: If the file is missing or damaged, or lacks a column.
    """
    table = read_table(path, other_encoding="cp1252")
    header = [name.lower() for name in table.columns]
    missing = [name for name in columns if name.lower() not in header]
    if missing:
        raise DataError(f"{path} has the columns {', '.join(header) or '(none)'}, but no {', '.join(missing)}")
    return [{name.lower(): cell for name, cell in row.items()} for row in table.dicts()]


def read_words(path: Path, column: str) -> dict[str, str | None]:
    """Spoken words by sample name; ``None`` where the cell is empty.

    Raises:
        DataError: If the table cannot be read, or lacks the column.
    """
    return {row["name"].strip(): row[column].strip() or None for row in read_rows(path, ("name", column))}


def files_by_name(folder: Path, suffixes: frozenset[str] = frozenset(VIDEO_SUFFIXES)) -> dict[str, Path]:
    """Files of a folder by name without suffix, the ones with one of these suffixes; mp4 before others.

    A folder that does not exist has none.
    """
    found: dict[str, Path] = {}
    if folder.is_dir():
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            stem, _, suffix = name.rpartition(".")
            if suffix.lower() in suffixes and (stem not in found or suffix.lower() == "mp4"):
                found[stem] = folder / name
    return found
