"""Reads the word tables of the AffectGPT authors: spreadsheets, or the mapping that they compiled from them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.npz import read_npz
from affectgpt.metrics.zipped import open_zip

FOLDER_VARIABLE = "AFFECTGPT_WHEEL_FOLDER"
NUM_WHEELS = 5
FILES = ("format.csv", "synonym.xlsx", *(f"wheel{w}.xlsx" for w in range(1, NUM_WHEELS + 1)))
MAPPING = "wheel_mapping.npz"
WHERE = (
    "they are in the folder AffectGPT/emotion_wheel of github.com/zeroQiaoba/AffectGPT; put "
    f"{', '.join(FILES)} into one folder, and pass it as folder or set {FOLDER_VARIABLE}"
)

MAX_WORKBOOK_BYTES = 4 << 20
"""Most bytes that a workbook may unpack to; the authors' largest has 0.3 MB."""

MAX_PART_BYTES = 1 << 18
"""Most bytes that a member of a workbook may unpack to if it is neither a sheet nor the shared words."""

MAX_ROWS = 10_000
"""Most rows of a sheet; the authors' longest has a few hundred."""

MAX_COLUMNS = 200
"""Most columns of a sheet."""

Words = Mapping[str, frozenset[str]]
Ring = Mapping[str, str]


@dataclass(frozen=True)
class WordTables:
    """The content of the tables.

    Attributes:
        forms: Inflected form to its base words; a form may have several.
        synonyms: Base word to the wheel words that it is a synonym of.
        wheels: Per wheel, two mappings: every word in it to its level-1 group, and to its level-2 group.
    """

    forms: Words
    synonyms: Words
    wheels: tuple[tuple[Ring, Ring], ...]


def read_tables(sources: tuple[Path, ...]) -> WordTables:
    """Read ``FILES`` in their order, or the one file ``wheel_mapping.npz``.

    Raises:
        ConfigError: If openpyxl is not installed.
        DataError: If a file is unreadable, or not the authors' table.
    """
    if len(sources) == 1:
        return _mapping(sources[0])
    formats, synonyms, *wheels = sources
    return WordTables(_forms(formats), _synonyms(synonyms), tuple(_ring_words(path) for path in wheels))


def _mapping(path: Path) -> WordTables:
    """The mapping of MER2026: format_mapping, raw_mapping and wheel_map_whole, each a dict."""
    arrays = read_npz(path)
    try:
        forms, synonyms = (
            {str(word): frozenset(map(str, reached)) for word, reached in arrays[key].items()}
            for key in ("format_mapping", "raw_mapping")
        )
        of_wheel = [arrays["wheel_map_whole"][f"wheel{w}"] for w in range(1, NUM_WHEELS + 1)]
        wheels = tuple((_ring(levels["level1"]), _ring(levels["level2"])) for levels in of_wheel)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{path} is not the authors' mapping (format_mapping, raw_mapping, wheel_map_whole): {error!r}; it is in "
            "the folder MER2026/MER2026_Track2/emotion_wheel of github.com/zeroQiaoba/MERTools"
        ) from error
    return WordTables(forms, synonyms, wheels)


def _ring(placed: Mapping[Any, Any]) -> Ring:
    return {str(word): str(group) for word, group in placed.items()}


def _forms(path: Path) -> Words:
    """Inflected form to its base words; a form may have several."""
    found: dict[str, set[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                base = row["name"].lower().strip()
                for form in [base, *row["format"].split(",")]:
                    found.setdefault(form.lower().strip(), set()).add(base)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not the authors' table (columns name, format): {error!r}; {WHERE}") from error
    found.pop("", None)
    return {form: frozenset(bases) for form, bases in found.items()}


def _synonyms(path: Path) -> Words:
    """Base word to the wheel words that it is a synonym of, over all runs in the table."""
    found: dict[str, set[str]] = {}
    header, *rows = _sheet(path)
    if not header or len(header) % 2 or not str(header[0]).startswith("word"):
        raise DataError(f"{path} is not the authors' table (columns word_run1, synonym_run1, ...); {WHERE}")
    for row in rows:
        for column in range(0, len(header), 2):
            word = _clean(row[column])
            if not word:
                continue
            for base in [word, *map(_clean, str(row[column + 1] or "").split(","))]:
                found.setdefault(base, set()).add(word)
    found.pop("", None)
    return {base: frozenset(words) for base, words in found.items()}


def _ring_words(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Every word of a wheel to its level-1 and to its level-2 group; a word listed twice takes the last group."""
    header, *rows = _sheet(path)
    if [_clean(cell) for cell in header[:3]] != ["level1", "level2", "level3"]:
        raise DataError(f"{path} is not the authors' table (columns level1, level2, level3); {WHERE}")
    tree: dict[str, dict[str, list[str]]] = {}
    one = two = ""
    for row in rows:
        one, two, three = _clean(row[0]) or one, _clean(row[1]) or two, _clean(row[2])
        tree.setdefault(one, {}).setdefault(two, []).append(three)
    inner: dict[str, str] = {}
    middle: dict[str, str] = {}
    for one, branches in tree.items():
        inner[one], middle[one] = one, min(branches)
        for two, leaves in branches.items():
            inner |= dict.fromkeys([two, *leaves], one)
            middle |= dict.fromkeys([two, *leaves], two)
    return inner, middle


def _sheet(path: Path) -> list[tuple[Any, ...]]:
    """The rows of the first sheet, each as long as the first one, which holds the names of the columns."""
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the official wheel is read with openpyxl, which is not installed; pip install 'affectgpt[wheel]'"
        ) from error
    try:
        with open_zip(path, _most_bytes_of, MAX_WORKBOOK_BYTES):
            pass
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        with closing(book):
            rows = _rows(book.worksheets[0])
    except DataError as error:
        raise DataError(f"{path} is not one of the authors' tables: {error}; {WHERE}") from None
    except Exception as error:
        raise DataError(f"{path} cannot be read as a spreadsheet: {type(error).__name__}: {error}; {WHERE}") from error
    if not rows:
        raise DataError(f"{path} is empty; {WHERE}")
    return rows


def _most_bytes_of(part: str) -> int:
    return MAX_WORKBOOK_BYTES if part.startswith(("xl/worksheets/", "xl/sharedStrings")) else MAX_PART_BYTES


def _rows(sheet: Any) -> list[tuple[Any, ...]]:
    # A sheet declares its own size, and openpyxl would pad every row to it.
    sheet.reset_dimensions()
    rows: list[tuple[Any, ...]] = []
    for row in sheet.iter_rows(values_only=True):
        width = len(rows[0]) if rows else len(row)
        if len(rows) == MAX_ROWS or width > MAX_COLUMNS:
            raise DataError(f"its first sheet has more than {MAX_ROWS:,} rows or {MAX_COLUMNS} columns")
        rows.append((*row, *(None,) * (width - len(row)))[:width])
    return rows


def _clean(cell: Any) -> str:
    return "" if cell is None else str(cell).lower().strip()
