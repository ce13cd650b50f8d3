"""Finds prediction files, in the authors' result folders or elsewhere, with the test set of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from affectgpt.bench.answer_column import is_gold_only, plain_name
from affectgpt.bench.answer_log import LOG_SUFFIX
from affectgpt.bench.predictions import column_names, is_same_content
from affectgpt.datamodules.unibench.sets import TestSet, find_test_set, get_test_set
from affectgpt.errors import ConfigError, DataError

SUFFIXES = (".npz", ".jsonl", ".csv")
# The endings of the authors' files: sentiments derived from label lists, label lists read from answers, and answers.
_ENDINGS = {"-openset-sentiment": "sentiment", "-sentiment": "sentiment", "-openset": "labels"}
_PREFERRED = {"sentiment": ("sentiment", "labels", "raw"), "discrete": ("labels", "raw"), "open": ("labels", "raw")}
_RESULTS = "results-"
_GOLD_NAME = re.compile(r"(?:^|[^a-z])(?:gold|truth|ground[-_ ]?truth|gt)(?:$|[^a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """One checkpoint's predictions for one set.

    Attributes:
        test_set: The test set.
        system: Name of the system.
        checkpoint: Name of the checkpoint.
        path: The file to score.
    """

    test_set: TestSet
    system: str
    checkpoint: str
    path: Path


@dataclass(frozen=True)
class Found:
    """The result of a search for prediction files.

    Attributes:
        candidates: The files to score, checkpoints in natural order.
        passed_over: Skipped files with gold labels, each with the reason.
    """

    candidates: tuple[Candidate, ...]
    passed_over: Mapping[Path, str]


def find_candidates(
    paths: Sequence[str | Path],
    only: Sequence[str] = (),
    name: str | None = None,
    *,
    gold_files: Collection[Path] = (),
    column: str | None = None,
) -> Found:
    """Find prediction files.

    In a folder tree, the set follows from a folder ``results-SET``, or from a folder or file named after the set; the
    system is the folder around the files. If a checkpoint has several files (``X.npz``, ``X-openset.npz``,
    ``X-openset-sentiment.npz``), the search takes the one that needs the least further processing. It skips files with
    gold labels in folders: the gold files in use, under any path, and their copies, and tables that are named like gold
    labels or have only columns of gold labels. A file that the user named directly is never skipped.

    Args:
        paths: Files, folders, or ``SET=FILE``.
        only: Sets to look for; if there is only one, a file that does not show its set belongs to it.
        name: Name of the system, if there is only one.
        gold_files: Files with the gold labels in use.
        column: The column with the answers, if the user named it.

    Raises:
        ConfigError: If a set does not exist, or a name is given for several systems.
        DataError: If a path does not exist or holds no prediction file, or a file's set is unknown.
    """
    wanted = [get_test_set(one) for one in only]
    kinds: dict[tuple[str, str, str], dict[str, Path]] = {}
    passed_over: dict[Path, str] = {}
    for given_path in paths:
        for path, root, named_set in _files(given_path):
            reason = _why_gold(path, gold_files, column) if path != _path_of(given_path) else None
            if reason is not None:
                passed_over[path] = reason
                continue
            test_set = named_set or _set_of(path) or (wanted[0] if len(wanted) == 1 else None)
            if test_set is None:
                raise DataError(
                    f"{path}: the test set of these answers is unknown; put the file into a folder results-SET, or "
                    f"give it as SET={path}"
                )
            if wanted and test_set not in wanted:
                continue
            checkpoint, kind = _checkpoint_of(path)
            key = (test_set.name, _system_of(path, root), checkpoint)
            found = kinds.setdefault(key, {})
            if kind in found:
                raise DataError(
                    f"{found[kind]} and {path} both hold {kind} answers of {checkpoint} for {test_set.name}"
                )
            found[kind] = path
    systems = {system for _, system, _ in kinds}
    if name is not None and len(systems) > 1:
        raise ConfigError(
            f"--name {name} is for one system, but these are {len(systems)}: {', '.join(sorted(systems))}"
        )
    candidates = []
    for (set_name, system, checkpoint), found in kinds.items():
        test_set = get_test_set(set_name)
        usable = [found[one] for one in _PREFERRED[test_set.task] if one in found]
        if not usable:
            sentiments = next(iter(found.values()))
            raise DataError(f"{sentiments} holds sentiments only; {test_set.title} is scored on emotion labels")
        candidates.append(Candidate(test_set, name or system, checkpoint, usable[0]))
    if not candidates:
        told = "".join(f"; {path} was skipped: {reason}" for path, reason in list(passed_over.items())[:3])
        raise DataError(f"no prediction file ({', '.join(SUFFIXES)}) in {', '.join(map(str, paths))}{told}")
    return Found(tuple(sorted(candidates, key=lambda one: natural_order(one.checkpoint))), passed_over)


def check_paths(paths: Sequence[str | Path]) -> None:
    """Reject paths that do not exist, before anything else is read.

    Raises:
        DataError: If one does not exist.
    """
    for given_path in paths:
        _files(given_path)


def _why_gold(path: Path, gold_files: Collection[Path], column: str | None) -> str | None:
    """Why a file in a folder counts as gold labels; ``None`` if it may hold answers."""
    if any(is_same_content(path, one) for one in gold_files):
        return "it holds the gold labels in use"
    if _GOLD_NAME.search(path.stem):
        return "its name is that of gold labels; name the file itself if it holds answers"
    columns = column_names(path)
    if is_gold_only(columns) and (column is None or plain_name(column) not in map(plain_name, columns)):
        return (
            "it has columns of gold labels and none of answers; if it has answers, name the file itself, or their "
            "--column"
        )
    return None


def natural_order(name: str) -> tuple[bool, list[tuple[int, str]]]:
    """A key that sorts names naturally: numbers by value, and ``last`` at the end.

    Examples:
        >>> sorted(["last", "epoch=10", "epoch=9"], key=natural_order)
        ['epoch=9', 'epoch=10', 'last']
    """
    pieces = re.split(r"(\d+)", name.lower())
    return name.lower() == "last", [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _files(given_path: str | Path) -> list[tuple[Path, Path, TestSet | None]]:
    """Prediction files at a path, each with the given folder and, for ``SET=FILE``, the set."""
    path = _path_of(given_path)
    given = None if path == Path(given_path) else get_test_set(str(given_path).partition("=")[0])
    if path.is_file():
        return [(path, path.parent, given)]
    if not path.is_dir():
        raise DataError(f"{path} does not exist; expected prediction files, or a folder that holds them")
    if (path / "answers").is_dir():  # the folder of a benchmark run, which also has other tables
        path = path / "answers"
    found = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES and not one.name.endswith(LOG_SUFFIX))
    return [(one, path, given) for one in found if one.is_file()]


def _path_of(given_path: str | Path) -> Path:
    """The path, without the set of ``SET=FILE``."""
    before, equals, after = str(given_path).partition("=")
    named = equals and not Path(given_path).exists() and find_test_set(before) is not None
    return Path(after if named else given_path)


def _set_of(path: Path) -> TestSet | None:
    parts = [_checkpoint_of(path)[0], *reversed(path.parts[:-1])]
    for part in parts:
        if part.startswith(_RESULTS) and find_test_set(part.removeprefix(_RESULTS)):
            return find_test_set(part.removeprefix(_RESULTS))
    return next((found for found in map(find_test_set, parts) if found is not None), None)


def _checkpoint_of(path: Path) -> tuple[str, str]:
    for ending, kind in _ENDINGS.items():
        if path.stem.endswith(ending):
            return path.stem.removesuffix(ending), kind
    return path.stem, "raw"


def _system_of(path: Path, root: Path) -> str:
    folder = path.parent.name
    unnamed = path.parent == root and root.name in ("", ".", "..")
    if unnamed or folder.startswith(_RESULTS) or find_test_set(folder) is not None:
        return "predictions"
    return folder or "predictions"
