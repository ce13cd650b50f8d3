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
    """Rows of a csv that has at least these columns (in any case); what is not UTF-8 is read as Windows-1252.

    Args:
        path: The file.
        columns: Columns that must be there.
        notes: Takes what a report should say of the file.

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
    if table.encoding != "utf-8" and notes is not None:
        notes.append(f"{path.name} is not UTF-8 and was read as Windows-1252")
    return [{name.lower(): cell for name, cell in row.items()} for row in table.dicts()]


def read_words(path: Path, column: str, notes: list[str] | None = None) -> dict[str, str | None]:
    """Spoken words by sample name; ``None`` where the cell is empty.

    Args:
        path: The file.
        column: Column of the words.
        notes: Takes what a report should say of the file, such as names that come twice.

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
            f"{path.name} has other words for {len(again)} names a second time ({first_few(again)}); the last count"
        )
    return words


def files_by_name(
    folder: Path, suffixes: frozenset[str] = frozenset(VIDEO_SUFFIXES), notes: list[str] | None = None
) -> dict[str, Path]:
    """Files of a folder by name without suffix, the ones with one of these suffixes; mp4 before others.

    A folder that does not exist has none.

    Args:
        folder: The folder.
        suffixes: Suffixes in small letters.
        notes: Takes what a report should say, such as names with several files.
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
            "first by its suffix, was taken"
        )
    return found
