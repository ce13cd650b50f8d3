"""Read the word tables of the AffectGPT authors into the groupings of an emotion wheel."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.wheel import Grouping

FOLDER_VARIABLE = "AFFECTGPT_WHEEL_FOLDER"
NUM_WHEELS = 5
FILES = ("format.csv", "synonym.xlsx", *(f"wheel{w}.xlsx" for w in range(1, NUM_WHEELS + 1)))
WHERE = (
    "they are in the folder AffectGPT/emotion_wheel of github.com/zeroQiaoba/AffectGPT; put "
    f"{', '.join(FILES)} into one folder, and pass it as folder or set {FOLDER_VARIABLE}"
)

# sha256 of what the tables say, so that line ends and spreadsheet metadata do not matter.
DIGESTS: Mapping[str, str] = {
    "1d3df15f6c8401131e836b4cb243d2628f4839a6f4489d1cb2e8ebb2da836e6c": "official-2025",
    "47ce1ad3de86b0c111eaae125b7639e1c1e335368b03d384bef49e402b56470a": "official-2026",
}

Words = Mapping[str, frozenset[str]]
Tables = tuple[str, tuple[str, ...], dict[str, Grouping], "npt.NDArray[np.int32]"]


def read_official(folder: str | os.PathLike[str] | None, *, verify: bool) -> Tables:
    """Name, labels, groupings and kin of the official wheel; see ``EmotionWheel.official``.

    The groupings are ``wheel{1..5}_level{1,2}`` and ``case1``, ``case2`` (base word, wheel word): of all wheel words
    that a label reaches over its base words and their synonyms, the first in code-point order that is in the wheel
    decides, as in the published scoring code.
    """
    path = _folder(folder)
    bases = _forms(path / "format.csv")
    wheels = [_ring_words(path / f"wheel{w}.xlsx") for w in range(1, NUM_WHEELS + 1)]
    synonyms = _synonyms(path / "synonym.xlsx")
    reach = {form: frozenset().union(*(synonyms.get(b, frozenset()) for b in bs)) for form, bs in bases.items()}
    labels = tuple(sorted(bases))
    first_base = {form: min(bs) for form, bs in bases.items()}
    groupings = {
        "case1": _grouping(labels, first_base),
        "case2": _grouping(labels, {f: min(synonyms[b]) for f, b in first_base.items() if synonyms.get(b)}),
    }
    for number, rings in enumerate(wheels, start=1):
        for level, ring in enumerate(rings, start=1):
            first = {form: next((w for w in sorted(words) if w in ring), None) for form, words in reach.items()}
            placed = {form: ring[word] for form, word in first.items() if word is not None}
            groupings[f"wheel{number}_level{level}"] = _grouping(labels, placed)
    name = DIGESTS.get(_digest(labels, groupings), "official-modified")
    if verify and name == "official-modified":
        raise DataError(
            f"the word tables in {path} differ from the published ones, so scores would not be comparable; {WHERE}. "
            "To use the altered tables all the same, pass verify=False"
        )
    return name, labels, groupings, groupings["case1"].codes.astype(np.int32)


def _folder(folder: str | os.PathLike[str] | None) -> Path:
    given = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not given:
        raise DataError(f"the official wheel needs the authors' word tables, and no folder is named: {WHERE}")
    path = Path(given)
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise DataError(f"the wheel folder {path} lacks {', '.join(missing)}; {WHERE}")
    return path


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
    """Base word to the wheel words of which it is a synonym, over all runs in the table."""
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
    """Every word of a wheel to its level-1 and to its level-2 group; a word placed twice takes the last place."""
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
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the official wheel is read with openpyxl, which is not installed; pip install 'affectgpt[wheel]'"
        ) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = list(book.worksheets[0].iter_rows(values_only=True))
        book.close()
    except Exception as error:
        raise DataError(f"{path} cannot be read as a spreadsheet: {type(error).__name__}: {error}; {WHERE}") from error
    if not rows:
        raise DataError(f"{path} is empty; {WHERE}")
    return rows


def _clean(cell: Any) -> str:
    return "" if cell is None else str(cell).lower().strip()


def _grouping(labels: Iterable[str], placed: Mapping[str, str]) -> Grouping:
    groups = tuple(sorted(set(placed.values())))
    number = {group: i for i, group in enumerate(groups)}
    codes = [number[placed[label]] if label in placed else -1 for label in labels]
    return Grouping(groups, np.array(codes, dtype=np.int16))


def _digest(labels: tuple[str, ...], groupings: Mapping[str, Grouping]) -> str:
    digest = hashlib.sha256("\n".join(labels).encode())
    for key in sorted(groupings):
        digest.update("\n".join([key, *groupings[key].groups]).encode())
        digest.update(groupings[key].codes.astype("<i2").tobytes())
    return digest.hexdigest()
