"""Reads the csv tables of the test sets, strictly, and finds media by the samples' names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from affectgpt.errors import DataError, first_few
from affectgpt.manifests.record import VIDEO_SUFFIXES
from affectgpt.manifests.text_tables import read_table
from affectgpt.text import clean_name, clean_text


def read_rows(path: Path, columns: Sequence[str], notes: list[str] | None = None) -> list[dict[str, str]]:
    """Read rows of a csv with at least these columns (in any case); a file that is not UTF-8 is read as Windows-1252.

    Args:
        path: The file.
        columns: Required columns.
        notes: Remarks about the file, for a report, are added to it.

    Returns:
        One dict per row, column names in lower case.

    Raises:
        DataError: If the file is missing or damaged, or lacks a column.
    """
    table = read_table(path, other_encoding="cp1252")
    header = [name.lower() for name in table.columns]
    missing = [name for name in columns if name.lower() not in header]
    if missing:
        raise DataError(f"{path} has the columns {', '.join(header) or '(none)'}, but no {', '.join(missing)}")
    if table.encoding != "utf-8" and notes is not None:
        notes.append(f"{path.name} is not UTF-8 and was read as Windows-1252")
    return [{name.lower(): cell for name, cell in row.items()} for row in table.dicts()]


def read_words(path: Path, column: str, notes: list[str] | None = None) -> dict[str, str | None]:
    """Read spoken words by sample name; ``None`` if the cell is empty.

    Args:
        path: The file.
        column: Column of the words.
        notes: Remarks about the file, such as repeated names, are added to it.

    Raises:
        DataError: If the table cannot be read, or lacks the column.
    """
    words: dict[str, str | None] = {}
    again: dict[str, None] = {}
    for row in read_rows(path, ("name", column), notes):
        name, said = clean_name(row["name"]), clean_text(row[column]).strip() or None
        if name in words and words[name] != said:
            again[name] = None
        words[name] = said
    if again and notes is not None:
        notes.append(
            f"{path.name} has {len(again)} names twice with different words ({first_few(again)}); the last ones are "
            "used"
        )
    return words


def files_by_name(
    folder: Path, suffixes: frozenset[str] = frozenset(VIDEO_SUFFIXES), notes: list[str] | None = None
) -> dict[str, Path]:
    """Files of a folder with one of the suffixes, by name without suffix; mp4 takes precedence.

    A folder that does not exist has none.

    Args:
        folder: The folder.
        suffixes: Suffixes in lower case.
        notes: Remarks, such as names with several files, are added to it.
    """
    found: dict[str, Path] = {}
    several: dict[str, None] = {}
    if folder.is_dir():
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            base, _, suffix = name.rpartition(".")
            if suffix.lower() in suffixes:
                stem = clean_name(base)
                if stem in found:
                    several[stem] = None
                if stem not in found or suffix.lower() == "mp4":
                    found[stem] = folder / name
    if several and notes is not None:
        notes.append(
            f"{folder.name} has several files for {len(several)} names ({first_few(several)}); the .mp4, or else the "
            "first suffix in order, is used"
        )
    return found
