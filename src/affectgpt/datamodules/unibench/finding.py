"""Finds test sets in folders, reads them, and compares them with the published split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from affectgpt.datamodules.unibench.folder_layouts import ORIGINAL, PROCESSED, OriginalLayout, ProcessedLayout
from affectgpt.datamodules.unibench.original_form import read_original
from affectgpt.datamodules.unibench.processed_form import read_processed
from affectgpt.datamodules.unibench.samples import BenchSet, find_differences
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet, find_test_set, get_test_set
from affectgpt.errors import DataError

_Layout = ProcessedLayout | OriginalLayout


def read_set(
    name: str, folder: str | Path | Sequence[str | Path], *, media: bool = True, allow_partial: bool = False
) -> BenchSet:
    """Read a test set of MER-UniBench.

    It looks for the authors' processed copy first, then for the original distribution, each in the folder itself and in
    a subfolder of its published name.

    Args:
        name: One of ``mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus``.
        folder: The set's folder, a folder that contains it, its label file, or several of these.
        media: Whether to also find clips and subtitles; ``False`` reads only the gold labels.
        allow_partial: Whether to accept a set that differs from the published split or lacks clips, and list the
            differences; by default it is refused.

    Raises:
        ConfigError: If the name is unknown.
        DataError: If the set is missing, is damaged, or differs from the published split.

    Examples:
        >>> read_set("meld", "nowhere")
        Traceback (most recent call last):
        affectgpt.errors.DataError: no MELD in nowhere: ...
    """
    test_set = get_test_set(name)
    folders = [Path(one) for one in ([folder] if isinstance(folder, str | Path) else folder)]
    found = next(_locations(test_set, folders), None)
    if found is None:
        raise _absent(test_set, folders)
    layout, location = found
    if isinstance(layout, ProcessedLayout):
        read = read_processed(test_set, layout, location, media=media)
    else:
        read = read_original(test_set, layout, location, media=media)
    differences = (*find_differences(test_set, read.samples), *read.differences)
    if differences and not allow_partial:
        listed = "; ".join(difference.message for difference in differences)
        raise DataError(
            f"{test_set.title} in {location} is not the published test split: {listed}. Get the whole set "
            f"({test_set.source}), or take it as it is with allow_partial (--allow-partial)"
        )
    return replace(read, differences=differences)


def find_sets(folders: Sequence[str | Path]) -> dict[str, Path]:
    """Find test sets in folders: name of the set to its folder.

    A folder counts if its name identifies the set, or if its label file has a name that only one set uses;
    ``label.csv`` alone is not enough.
    """
    found: dict[str, Path] = {}
    for test_set in TEST_SETS.values():
        for layout, location in _locations(test_set, [Path(folder) for folder in folders]):
            if _identifies(test_set, layout, location):
                found.setdefault(test_set.name, location)
    return found


def holds_set(name: str, folder: str | Path) -> bool:
    """Whether a folder or a label file can be read as that set, whatever its name.

    Raises:
        ConfigError: If the name is unknown.
    """
    return any(True for _ in _locations(get_test_set(name), [Path(folder)]))


def _layouts(name: str) -> tuple[_Layout, ...]:
    return (PROCESSED[name], *ORIGINAL.get(name, ()))


def _folders_of(layout: _Layout) -> tuple[str, ...]:
    return (layout.folder,) if isinstance(layout, ProcessedLayout) else layout.folders


def _locations(test_set: TestSet, folders: Sequence[Path]) -> Iterator[tuple[_Layout, Path]]:
    """Where the labels of a set are."""
    for folder in folders:
        for layout in _layouts(test_set.name):
            if folder.is_file():
                if folder.name == Path(layout.labels).name:
                    yield layout, folder.parents[len(Path(layout.labels).parts) - 1]
                continue
            for location in (folder / sub for sub in (*_folders_of(layout), "")):
                if (location / layout.labels).exists():
                    yield layout, location


_USES: Mapping[str, int] = Counter(layout.labels for name in TEST_SETS for layout in _layouts(name))


def _identifies(test_set: TestSet, layout: _Layout, location: Path) -> bool:
    named = location.resolve().name
    return _USES[layout.labels] == 1 or named in _folders_of(layout) or find_test_set(named) == test_set


def _absent(test_set: TestSet, folders: Sequence[Path]) -> DataError:
    looked = []
    for layout in _layouts(test_set.name):
        kind = "authors' copy" if isinstance(layout, ProcessedLayout) else "original"
        looked.append(f"{' or '.join(_folders_of(layout))}/{layout.labels} ({kind})")
    where = ", ".join(map(str, folders)) or "(no folder was given)"
    gone = [str(folder) for folder in folders if not folder.exists()]
    hint = f" {', '.join(gone)} does not exist." if gone else ""
    return DataError(
        f"no {test_set.title} in {where}: looked for {', '.join(looked)}.{hint} Get it from {test_set.source}"
    )
