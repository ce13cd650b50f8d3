"""Reads the manifest of a data set: JSON lines, a table, a folder of media, or a published layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.entries import Entries, fault, read_entry
from affectgpt.manifests.media_folder import folder_entries
from affectgpt.manifests.record import Record, SampleError
from affectgpt.manifests.text_tables import read_text, table_rows


class Layout(Protocol):
    """A way to read a folder as a data set."""

    def entries(self, folder: Path) -> Entries:
        """The entries of the data set, with paths relative to the folder."""


def read_manifest(path: str | Path, layout: Layout | None = None) -> list[Record]:
    """Read a manifest; file names in it are relative to its folder.

    An entry holds ``name`` and ``video`` or ``audio``, and may hold ``faces``, ``subtitle``, ``labels``,
    ``description`` and ``split``; other keys are kept in ``extra``.

    Args:
        path: ``.jsonl`` (one object a line), ``.csv``, ``.tsv`` or ``.parquet`` (one entry a row), or a folder of
            media.
        layout: How a folder is laid out, such as ``Mer2025()``; by default each media file in it is a clip.

    Raises:
        DataError: At the first entry that does not fit, whose file is missing, or whose key came before.
    """
    records, problems = scan_manifest(path, layout)
    if problems:
        raise problems[0]
    return records


def scan_manifest(path: str | Path, layout: Layout | None = None) -> tuple[list[Record], list[SampleError]]:
    """Read a manifest, with the faults of its entries collected instead of raised; see ``read_manifest``.

    Raises:
        ConfigError: If the kind of file is unknown, or its reader is not installed.
        DataError: If the file cannot be read, or has no entry.
    """
    path = Path(path)
    entries, folder, cells = _entries(path, layout)
    records: list[Record] = []
    problems: list[SampleError] = []
    first_place: dict[str, str] = {}
    for place, entry in entries:
        try:
            if isinstance(entry, SampleError):
                raise entry
            record = read_entry(entry, folder, place, cells=cells)
            if record.key in first_place:
                message = f"the name was used in {first_place[record.key]} already; every sample needs one of its own"
                raise fault(place, "duplicate_key", message, record.key)
        except SampleError as problem:
            problems.append(problem)
            continue
        first_place[record.key] = place
        records.append(record)
    if not records and not problems:
        raise DataError(f"manifest {str(path)!r} has no entry; write one sample a line, or choose another folder")
    return records, problems


def _entries(path: Path, layout: Layout | None) -> tuple[Entries, Path, bool]:
    """Entries, the folder that their paths are relative to, and whether they are cells of a table."""
    if layout is not None:
        if not path.is_dir():
            raise DataError(f"{str(path)!r} is no folder, but layout {layout!r} reads one; give the folder of the set")
        return layout.entries(path), path, True
    if path.is_dir():
        return folder_entries(path), path, False
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"manifest {str(path)!r}: {path.suffix!r} is none of {', '.join(_READERS)}, nor is it a folder"
        )
    return reader(path), path.parent, reader is not _json_lines


def _json_lines(path: Path) -> Entries:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield place, fault(place, "not_json", f"not JSON ({error}); write one object a line")
            continue
        if not isinstance(entry, dict):
            entry = fault(place, "not_an_object", f'{line.strip()[:60]!r} is no JSON object; write {{"name": ...}}')
        yield place, entry


def _csv(path: Path) -> Entries:
    return table_rows(path)


def _tsv(path: Path) -> Entries:
    return table_rows(path)


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
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
