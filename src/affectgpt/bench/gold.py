"""Finds the gold labels of test sets: in data set folders, in label files, or in plain tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.bench.predictions import Answers, read_gold
from affectgpt.datamodules.unibench import BenchSet, find_sets, read_set
from affectgpt.datamodules.unibench.finding import holds_set
from affectgpt.datamodules.unibench.folder_layouts import PROCESSED
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet, find_test_set, get_test_set
from affectgpt.errors import DataError

_WANTED = (
    "folders of test sets, MELD's test_sent_emo.csv, a table with the columns name and label that is called as the "
    "set, or SET=FILE"
)


@dataclass(frozen=True)
class Gold:
    """The gold labels of a set.

    Attributes:
        path: File with ``name`` and ``label``, as ``score`` reads it.
        record: Where it comes from, and how it differs from the published split, as plain JSON.
    """

    path: Path
    record: Mapping[str, Any] = field(default_factory=dict)


def read_labels(test_set: TestSet, path: str | os.PathLike[str]) -> Answers:
    """The gold labels of a set: a plain table, see ``read_gold``, or the set's own folder or file of labels.

    Whether it is the published split is not asked here.

    Raises:
        DataError: If they are missing or damaged.
    """
    place = Path(path)
    if holds_set(test_set.name, place) and not _is_plain(place):
        found = read_set(test_set.name, place, media=False, allow_partial=True)
        return Answers({sample.key: sample.gold for sample in found.samples}, "label", str(found.labels))
    return read_gold(place)


def find_gold(
    places: Sequence[str | Path], out: str | Path, only: Sequence[str] = (), *, allow_partial: bool = False
) -> dict[str, Gold]:
    """Find the gold labels of sets.

    Args:
        places: Folders of test sets, their files of labels (such as MELD's ``test_sent_emo.csv``), tables with ``name``
            and ``label`` that are called as the set, or ``SET=FILE``.
        out: Folder for the tables that are made of folders.
        only: Sets to look for; by default all that are found.
        allow_partial: Take a set that differs from the published split.

    Returns:
        By name of the set, in the order of the benchmark.

    Raises:
        ConfigError: If a set does not exist.
        DataError: If a place does not exist, a file does not say whose labels it holds, or a set is missing, damaged,
            or differs from the published split.
    """
    wanted = [get_test_set(name).name for name in only]
    named: dict[str, Path] = {}
    unnamed: list[Path] = []
    for place in places:
        before, equals, after = str(place).partition("=")
        test_set = find_test_set(before) if equals and not Path(str(place)).exists() else None
        if test_set is not None:
            named[test_set.name] = Path(after)
        elif Path(place).exists():
            unnamed.append(Path(place))
        else:
            raise DataError(f"{place} does not exist; expected gold labels: {_WANTED}")
    found: dict[str, Gold] = {}
    used: set[Path] = set()
    for name in wanted or TEST_SETS:
        own = [named[name]] if name in named else unnamed
        asked = name in named or name in wanted
        # unasked, a label.csv without a telling name may be that of another set
        folders = [
            one for one in own if holds_set(name, one) and not _is_plain(one) and (asked or name in find_sets([one]))
        ]
        table = _table_of(name, own, alone=name in named or wanted == [name])
        used.update([*folders, *([table] if table else [])])
        if folders:
            found[name] = as_gold(read_set(name, folders, media=False, allow_partial=allow_partial), out)
        elif table is not None:
            found[name] = Gold(
                table, {"labels": str(table), "layout": "table", "samples": len(read_gold(table).values)}
            )
        elif asked:
            read_set(name, own, media=False)  # says what is missing
    if not found:
        raise DataError(f"no gold labels in {', '.join(map(str, places)) or '(nothing given)'}; give {_WANTED}")
    unknown = [place for place in unnamed if place.is_file() and place not in used]
    if unknown and not wanted:
        raise DataError(f"{unknown[0]}: of which test set are these the labels? Give them as SET={unknown[0]}")
    return found


def _is_plain(path: Path) -> bool:
    """Whether a file is a table of names and labels, not a set's own file; OV-MERD+ has one that is both."""
    if not path.is_file() or path.name == PROCESSED["ovmerdplus"].labels:
        return False
    try:
        return bool(read_gold(path).values)
    except DataError:
        return False


def as_gold(bench_set: BenchSet, out: str | Path) -> Gold:
    """Write the gold labels of a set that was read."""
    path = Path(out) / f"{bench_set.test_set.name}.csv"
    bench_set.write_gold(path)
    return Gold(path, bench_set.record())


def _table_of(name: str, places: Sequence[Path], *, alone: bool) -> Path | None:
    """A plain table that is called as the set, or the only one that was given."""
    for place in places:
        files = sorted(place.iterdir()) if place.is_dir() else [place] if place.is_file() else []
        for path in files:
            if path.suffix in (".csv", ".jsonl") and find_test_set(path.stem) == TEST_SETS[name]:
                return path
    files = [place for place in places if place.is_file() and place.suffix in (".csv", ".jsonl", ".npz")]
    return files[0] if alone and len(files) == 1 else None
