"""Finds the gold labels of test sets: in data set folders, in label files, or in plain tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.bench.answer_column import GOLD_COLUMNS, plain_name
from affectgpt.bench.predictions import NAME_COLUMNS, Answers, column_names, read_gold
from affectgpt.datamodules.unibench import BenchSet, find_sets, read_set
from affectgpt.datamodules.unibench.finding import holds_set
from affectgpt.datamodules.unibench.folder_layouts import PROCESSED
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet, find_test_set, get_test_set
from affectgpt.errors import DataError
from affectgpt.files import digest_of
from affectgpt.text import clean_name

_WANTED = (
    "folders of test sets, MELD's test_sent_emo.csv, a table named after the set with the columns name and label, "
    "or SET=FILE"
)


@dataclass(frozen=True)
class Gold:
    """The gold labels of a test set.

    Attributes:
        path: File with ``name`` and ``label``.
        labels: The labels in the file.
        record: The origin of the labels, and their differences from the published split, as plain JSON.
    """

    path: Path
    labels: Answers
    record: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Sha256 of names and labels, in hex, independent of their order and of the file."""
        return digest_of(sorted([name, repr(value)] for name, value in self.labels.values.items()))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that contains these labels."""
        return (self.path, Path(self.labels.source))


def read_labels(test_set: TestSet, path: str | os.PathLike[str], column: str | None = None) -> Answers:
    """Read the gold labels of a set, from a plain table (see ``read_gold``) or from its own folder or file of labels.

    They need not be the published split.

    Args:
        test_set: The set.
        path: The table, folder or file.
        column: The column of a plain table; by default the only one with a name that gold labels usually have.

    Raises:
        DataError: If they are missing or damaged.
    """
    path = Path(path)
    if column is None and holds_set(test_set.name, path) and not _is_plain(path):
        return _labels_of(read_set(test_set.name, path, media=False, allow_partial=True))
    return read_gold(path, column=column)


def find_gold(
    paths: Sequence[str | Path],
    out: str | Path,
    only: Sequence[str] = (),
    *,
    allow_partial: bool = False,
    column: str | None = None,
) -> dict[str, Gold]:
    """Find the gold labels of sets.

    Args:
        paths: Folders of test sets, their files of labels (such as MELD's ``test_sent_emo.csv``), tables named after
            the set with the columns ``name`` and ``label``, or ``SET=FILE``.
        out: Folder for the tables that are made from folders.
        only: Sets to look for; by default all that are found.
        allow_partial: Accept a set that differs from the published split.
        column: The column of plain tables; by default the only one with a name that gold labels usually have.

    Returns:
        The gold labels by name of the set, in the order of the benchmark.

    Raises:
        ConfigError: If a set does not exist.
        DataError: If a path does not exist, the set of a file is unknown, or a set is missing, damaged, or differs from
            the published split.
    """
    wanted = [get_test_set(name).name for name in only]
    named: dict[str, Path] = {}
    unnamed: list[Path] = []
    for path in paths:
        before, equals, after = str(path).partition("=")
        test_set = find_test_set(before) if equals and not Path(str(path)).exists() else None
        if test_set is not None:
            named[test_set.name] = Path(after)
        elif Path(path).exists():
            unnamed.append(Path(path))
        else:
            raise DataError(f"{path} does not exist; expected gold labels: {_WANTED}")
    found: dict[str, Gold] = {}
    used: set[Path] = set()
    plain = {one for one in (*unnamed, *named.values()) if _is_plain(one)}
    for name in wanted or TEST_SETS:
        own = [named[name]] if name in named else unnamed
        asked = name in named or name in wanted
        # a label.csv that was not asked for and does not name its set may belong to another one
        folders = [
            one for one in own if one not in plain and holds_set(name, one) and (asked or name in find_sets([one]))
        ]
        table = _table_of(name, own, alone=name in named or wanted == [name])
        used.update([*folders, *([table] if table else [])])
        if folders:
            found[name] = as_gold(read_set(name, folders, media=False, allow_partial=allow_partial), out)
        elif table is not None:
            labels = read_gold(table, column=column)
            found[name] = Gold(table, labels, {"labels": str(table), "layout": "table", "samples": len(labels.values)})
        elif asked:
            read_set(name, own, media=False)  # raises an error that names what is missing
    if not found:
        raise DataError(f"no gold labels in {', '.join(map(str, paths)) or '(nothing given)'}; give {_WANTED}")
    unknown = [path for path in unnamed if path.is_file() and path not in used]
    if unknown and not wanted:
        raise DataError(f"{unknown[0]}: the test set of these labels is unknown; give them as SET={unknown[0]}")
    return found


def _is_plain(path: Path) -> bool:
    """Whether a file is a table of names and labels and not a set's own file; one file of OV-MERD+ is both."""
    if not path.is_file() or path.name == PROCESSED["ovmerdplus"].labels:
        return False
    raw = column_names(path)
    names = set(map(plain_name, raw))
    keyed = any(name.startswith("name2") for name in raw)  # an array in the authors' layout, with names and labels
    return (keyed or bool(names & {*NAME_COLUMNS})) and bool(names & {*GOLD_COLUMNS})


def _labels_of(bench_set: BenchSet) -> Answers:
    return Answers({clean_name(sample.key): sample.gold for sample in bench_set.samples}, "", str(bench_set.labels))


def as_gold(bench_set: BenchSet, out: str | Path) -> Gold:
    """Write the gold labels of a set into a table, for people and for other programs."""
    path = Path(out) / f"{bench_set.test_set.name}.csv"
    bench_set.write_gold(path)
    return Gold(path, _labels_of(bench_set), bench_set.record())


def _table_of(name: str, paths: Sequence[Path], *, alone: bool) -> Path | None:
    """The plain table that is named after the set, or the only one that was given."""
    for given in paths:
        files = sorted(given.iterdir()) if given.is_dir() else [given] if given.is_file() else []
        for path in files:
            if path.suffix in (".csv", ".jsonl") and find_test_set(path.stem) == TEST_SETS[name]:
                return path
    files = [path for path in paths if path.is_file() and path.suffix in (".csv", ".jsonl", ".npz")]
    return files[0] if alone and len(files) == 1 else None
