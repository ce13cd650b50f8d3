"""Reads text files, and tables of text with a header, strictly as UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from affectgpt.errors import DataError
from affectgpt.manifests.entries import fault
from affectgpt.manifests.record import SampleError

_LONGEST_CELL = 2**24


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises:
        DataError: If it cannot be opened, or is no UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be opened: {error.strerror}; check the path") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        guess = _guess_encoding(content)
        raise DataError(
            f"{str(path)!r} is not UTF-8 text (byte {content[error.start]:#04x} at {error.start}); it looks like "
            f"{guess}: iconv -f {guess} -t UTF-8 makes it UTF-8"
        ) from error


def _guess_encoding(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    try:
        content.decode("gb18030")
    except UnicodeDecodeError:
        return "latin1"
    return "GB18030"


def table_rows(path: Path, *columns: str, delimiter: str = ",") -> Iterator[tuple[str, dict[str, str] | SampleError]]:
    """Rows of a table of text with a header: place, and column to text, empty cells left out.

    Args:
        path: The file.
        columns: Columns that must be there, apart from ``name``.
        delimiter: What stands between the cells.

    Raises:
        DataError: If the file is no such table, or lacks a column.
    """
    longest = csv.field_size_limit(_LONGEST_CELL)
    try:
        rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(rows, [])]
        wanted = ("name", *columns)
        if not set(wanted) <= set(header) or len(set(header)) != len(header):
            raise DataError(
                f"{str(path)!r} needs a first line of different column names, among them {', '.join(wanted)}, but it "
                f"is {header!r}"
            )
        for row in rows:
            place = f"{path}:{rows.line_num}"
            if len(row) > len(header):
                message = f"{len(row)} cells, but the header has {len(header)}; put text with commas in double quotes"
                yield place, fault(place, "wrong_row", message)
            elif any(cell.strip() for cell in row):
                yield place, {name: cell for name, cell in zip(header, row, strict=False) if name and cell.strip()}
    except csv.Error as error:
        raise DataError(f"{str(path)!r} is no table of text ({error}); check its quotes") from error
    finally:
        csv.field_size_limit(longest)
