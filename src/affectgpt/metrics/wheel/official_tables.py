"""Turns the word tables of the AffectGPT authors into the groupings of an emotion wheel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectgpt.errors import DataError
from affectgpt.metrics.wheel.compiled import Compiled, compiled_path, load_compiled, save_compiled
from affectgpt.metrics.wheel.fetch import fetched_tables
from affectgpt.metrics.wheel.grouping import Grouping
from affectgpt.metrics.wheel.word_tables import FILES, FOLDER_VARIABLE, MAPPING, WHERE, WordTables, read_tables

# sha256 of the content of the tables, so that line ends and spreadsheet metadata do not matter.
DIGESTS: Mapping[str, str] = {
    "1d3df15f6c8401131e836b4cb243d2628f4839a6f4489d1cb2e8ebb2da836e6c": "official-2025",
    "47ce1ad3de86b0c111eaae125b7639e1c1e335368b03d384bef49e402b56470a": "official-2026",
}

Tables = tuple[str, tuple[str, ...], dict[str, Grouping], "npt.NDArray[np.int32]"]


def read_official(folder: str | os.PathLike[str] | None, *, verify: bool, url: str | None = None) -> Tables:
    """Name, labels, groupings and kin of the official wheel; see ``EmotionWheel.official``.

    The groupings are ``wheel{1..5}_level{1,2}`` and ``case1``, ``case2`` (base word, wheel word): of all wheel words
    that a label reaches through its base words and their synonyms, the first in code-point order that is in the wheel
    decides, as in the published scoring code.

    Raises:
        ConfigError: If the tables must be fetched and pooch is not installed.
        DataError: If a table is missing or damaged, cannot be fetched, or (``verify``) differs from the published one.
    """
    given = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    path = Path(given) if given else fetched_tables(url)
    sources = _sources(path)
    kept = compiled_path(sources)
    compiled = load_compiled(kept)
    if compiled is None:
        compiled = _compile(read_tables(sources))
        save_compiled(kept, *compiled)
    labels, groupings = compiled
    name = DIGESTS.get(_digest(labels, groupings), "official-modified")
    if verify and name == "official-modified":
        raise DataError(
            f"the word tables in {path} differ from the published ones, so scores would not be comparable; {WHERE}. To "
            "use the altered tables anyway, pass verify=False"
        )
    return name, labels, groupings, groupings["case1"].codes.astype(np.int32)


def _sources(path: Path) -> tuple[Path, ...]:
    """The seven tables of a folder, or the one file of the compiled mapping."""
    if path.is_file():
        return (path,)
    missing = [name for name in FILES if not (path / name).is_file()]
    if not missing:
        return tuple(path / name for name in FILES)
    if (path / MAPPING).is_file():
        return (path / MAPPING,)
    raise DataError(f"the wheel folder {path} lacks {', '.join(missing)}; {WHERE}")


def _compile(tables: WordTables) -> Compiled:
    bases_of, synonyms = tables.forms, tables.synonyms
    reach = {form: sorted(set().union(*(synonyms.get(b, ()) for b in bases))) for form, bases in bases_of.items()}
    labels = tuple(sorted(bases_of))
    first_base = {form: min(bases) for form, bases in bases_of.items() if bases}
    groupings = {
        "case1": _grouping(labels, first_base),
        "case2": _grouping(labels, {f: min(synonyms[b]) for f, b in first_base.items() if synonyms.get(b)}),
    }
    for number, rings in enumerate(tables.wheels, start=1):
        for level, ring in enumerate(rings, start=1):
            first = {form: next((word for word in words if word in ring), None) for form, words in reach.items()}
            placed = {form: ring[word] for form, word in first.items() if word is not None}
            groupings[f"wheel{number}_level{level}"] = _grouping(labels, placed)
    return labels, groupings


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
