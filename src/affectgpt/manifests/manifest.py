"""Reads the manifest of a data set: JSON lines, a table, a folder of media, or a published layout."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import parse_json
from affectgpt.manifests.entries import Entries, fault, read_entry, source_suffixes
from affectgpt.manifests.folder_manifest import find_manifest
from affectgpt.manifests.folder_walk import FolderWalk, describe_unused, walk_folder
from affectgpt.manifests.media_folder import sort_into_clips
from affectgpt.manifests.record import Record, SampleError
from affectgpt.manifests.text_tables import read_text, table_rows

NOT_NAMED = "no sample of the manifest uses them"


class Layout(Protocol):
    """A way to read a folder as a data set."""

    def entries(self, folder: Path) -> Entries:
        """The entries of the data set, with paths relative to the folder."""

    def unused(self, folder: Path) -> Mapping[Path, str]:
        """Files that no entry uses, relative to the folder, with the reasons."""


@dataclass(frozen=True)
class ManifestScan:
    """The content of a manifest.

    Attributes:
        records: The samples, in order.
        problems: The faults of the other entries.
        remarks: Facts that the user should know: which file of a folder was read as the manifest, and how many files
            were not used, by reason.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[SampleError] = field(default_factory=list)
    remarks: tuple[str, ...] = ()


def read_manifest(path: str | Path, layout: Layout | None = None) -> list[Record]:
    """Read a manifest; file names in it are relative to its folder.

    An entry holds ``name`` and ``video`` or ``audio``, and may hold ``faces``, ``subtitle``, ``labels``,
    ``description``, ``split``, and files of sources from plug-ins by the names of the sources; other keys are kept in
    ``extra``.

    Args:
        path: ``.jsonl`` (one object per line), ``.csv``, ``.tsv`` or ``.parquet`` (one entry per row), or a folder of
            media.
        layout: How a folder is arranged, such as ``Mer2025()``; by default the manifest in the folder is read or, if
            there is none, each media file is a clip.

    Raises:
        ConfigError: If the kind of file is unknown, or its reader is not installed.
        DataError: At the first entry that is invalid, whose file is missing, or whose key occurred before.
    """
    records, problems = scan_manifest(path, layout)
    if problems:
        raise problems[0]
    return records


def scan_manifest(path: str | Path, layout: Layout | None = None) -> tuple[list[Record], list[SampleError]]:
    """Read a manifest, collecting the faults of its entries instead of raising them; see ``read_manifest``.

    Raises:
        ConfigError: If the kind of file is unknown, or its reader is not installed.
        DataError: If the file cannot be read or has no entries.
    """
    scan = survey_manifest(path, layout)
    return scan.records, scan.problems


def survey_manifest(path: str | Path, layout: Layout | None = None, subtitle: str | None = None) -> ManifestScan:
    """Read a manifest as ``scan_manifest`` does, and report which files of a folder were not used.

    Args:
        path: See ``read_manifest``.
        layout: See ``read_manifest``.
        subtitle: The language to take where clips of a bare folder have subtitles in several, as their files name it:
            ``en`` takes ``u1.en.srt`` and, where there is none, ``u1.en-US.srt`` or ``u1.srt``.

    Raises:
        ConfigError: If the kind of file is unknown, its reader is not installed, or ``subtitle`` is given for something
            else than a folder of media.
        DataError: If the file cannot be read or has no entries.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise DataError(f"manifest {str(path)[:200]!r} cannot be opened: {error.strerror}; check the path") from error
    if subtitle is not None and (layout is not None or not is_folder):
        raise ConfigError(_NO_CHOICE.format(subtitle, str(path)))
    if layout is not None:
        if not is_folder:
            found, name = "is not a folder" if path.exists() else "does not exist", type(layout).__name__.lower()
            raise DataError(f"{str(path)!r} {found}, but layout {name} reads a folder; give that of the set")
        scan = _collect(layout.entries(path), path, cells=True)
        remarks = describe_unused(path, layout.unused(path))
    elif is_folder:
        scan, remarks = _survey_folder(path, subtitle)
    else:
        scan, remarks = _read_file(path), []
    if not scan.records and not scan.problems:
        told = "".join(f"; {remark}" for remark in remarks)
        raise DataError(
            f"manifest {str(path)!r} has no entries{told}; write one sample per line, or choose another folder"
        )
    return ManifestScan(scan.records, scan.problems, tuple(remarks))


_NO_CHOICE = (
    "subtitle {!r} chooses among the subtitle files beside the clips of a bare folder, but {!r} is a manifest or has a "
    "layout, which says what the subtitle is: leave it out"
)


def _survey_folder(folder: Path, subtitle: str | None) -> tuple[ManifestScan, list[str]]:
    """The content of a folder, from its manifest or from its media files."""
    walk = walk_folder(folder)
    sources = source_suffixes()
    manifest = find_manifest(walk, tuple(_READERS), sources)
    if manifest is None:
        found = sort_into_clips(walk, subtitle, sources)
        return _collect(found.entries(), folder, cells=False), describe_unused(folder, found.unused)
    if subtitle is not None:
        raise ConfigError(_NO_CHOICE.format(subtitle, str(folder / manifest)))
    scan = _read_file(folder / manifest)
    remark = f"{str(folder / manifest)!r} was read as the manifest of the folder"
    return scan, [remark, *describe_unused(folder, _not_named(walk, manifest, scan.records))]


def _not_named(walk: FolderWalk, manifest: Path, records: list[Record]) -> dict[Path, str]:
    """The files of a folder that no record uses."""
    used = {os.path.realpath(path) for record in records for path in record.files()}
    left = [path for path in walk.files if path != manifest and os.path.realpath(walk.folder / path) not in used]
    return {**walk.passed_over, **dict.fromkeys(left, NOT_NAMED)}


def _read_file(path: Path) -> ManifestScan:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"manifest {str(path)!r}: {path.suffix!r} is not one of {', '.join(_READERS)}, and it is not a folder"
        )
    return _collect(reader(path), path.parent, cells=reader is not _json_lines)


def _collect(entries: Entries, folder: Path, *, cells: bool) -> ManifestScan:
    """The records of valid entries, and the faults of the others."""
    scan = ManifestScan()
    sources = source_suffixes()
    first_location: dict[str, str] = {}
    for location, entry in entries:
        try:
            if isinstance(entry, SampleError):
                raise entry
            record = read_entry(entry, folder, location, cells=cells, sources=sources)
            if record.key in first_location:
                message = f"the name already occurs in {first_location[record.key]}; every sample needs its own name"
                raise fault(location, "duplicate_key", message, record.key)
        except SampleError as problem:
            scan.problems.append(problem)
            continue
        first_location[record.key] = location
        scan.records.append(record)
    return scan


def _json_lines(path: Path) -> Entries:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        location = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            entry = parse_json(line, "the line")
        except DataError as error:
            yield location, fault(location, "not_json", f"{error}; write one object per line")
            continue
        if not isinstance(entry, dict):
            entry = fault(
                location, "not_an_object", f'{line.strip()[:60]!r} is not a JSON object; write {{"name": ...}}'
            )
        yield location, entry


def _parquet(path: Path) -> Entries:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ConfigError(f"{str(path)!r} needs pyarrow: pip install 'affectgpt[parquet]' ({error})") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", {name: value for name, value in row.items() if value is not None}
    except (OSError, ArrowException) as error:
        raise DataError(f"{str(path)!r} cannot be read as parquet ({error}); write it again") from error


_READERS: Mapping[str, Callable[[Path], Any]] = {
    ".jsonl": _json_lines,
    ".csv": table_rows,
    ".tsv": table_rows,
    ".parquet": _parquet,
}
