"""Reads text files and tables with a header, by the same rules for manifests, test sets, gold and predictions."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from affectgpt.errors import DataError
from affectgpt.manifests.entries import fault
from affectgpt.manifests.record import SampleError
from affectgpt.manifests.swallowed_rows import first_swallowed
from affectgpt.text import clean_name

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LONGEST_CELL = 2**24


@dataclass(frozen=True)
class TableRow:
    """A row of a table of text.

    Attributes:
        line: Number of the line on which the row begins.
        cells: The cells; their number may differ from that of the header.
    """

    line: int
    cells: Sequence[str]


@dataclass(frozen=True)
class TextTable:
    """A table of text with a header.

    Attributes:
        path: The file.
        columns: The header; an empty string is a column without a name.
        rows: The rows below the header; empty lines are left out.
        encoding: Encoding with which the file was read.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    encoding: str = "utf-8"

    def location(self, row: TableRow) -> str:
        """Location of a row: the file and the line."""
        return f"{self.path}:{row.line}"

    def misfit(self, row: TableRow) -> str | None:
        """What is wrong with a row that has more or fewer cells than the header; ``None`` if it is right."""
        if len(row.cells) == len(self.columns):
            return None
        return (
            f"{len(row.cells)} cells, but the header has {len(self.columns)}; put text with a delimiter into double "
            "quotes, and write every cell"
        )

    def dicts(self) -> list[dict[str, str]]:
        """Each row as column to text; columns without a name are left out.

        Raises:
            DataError: If a row has more or fewer cells than the header.
        """
        for row in self.rows:
            problem = self.misfit(row)
            if problem is not None:
                raise DataError(f"{self.location(row)}: {problem}")
        return [self.as_dict(row) for row in self.rows]

    def as_dict(self, row: TableRow) -> dict[str, str]:
        """A row as column to text; columns without a name are left out."""
        return {name: cell for name, cell in zip(self.columns, row.cells, strict=True) if name}


def read_text(path: Path) -> str:
    """Read a text file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises:
        DataError: If it cannot be opened, or is neither.
    """
    return _decoded(path)[0]


def read_table(path: Path, *, quoted: bool = True, other_encoding: str | None = None) -> TextTable:
    """Read a ``.csv`` or ``.tsv`` file by the rules of csv.

    The first line names the columns. A cell with a delimiter, a quote or a line break is enclosed in double quotes, and
    a quote in it is doubled. In a table that breaks these rules, a quotation may open in one row and close in a later
    one, and the rows between would be lost. A ``.tsv`` file is then read line by line, because its standard has no
    quotes, if every line has as many cells as the header; any other such table is refused.

    Args:
        path: The file.
        quoted: ``False`` for a published format that has no quoting: every line is a row, and quotes are ordinary
            characters.
        other_encoding: Encoding of files that are not UTF-8, for tables that are published in it; by default they are
            refused.

    Raises:
        DataError: If the file cannot be read, is not UTF-8, has repeated column names, or has quotes that break the
            rules of csv.
    """
    text, encoding = _decoded(path, other_encoding)
    delimiter = DELIMITERS.get(path.suffix.lower(), ",")
    lines = list(io.StringIO(text, newline=""))
    problem = None
    if not quoted:
        rows = [TableRow(line, _split(text, delimiter)) for line, text in enumerate(lines, 1)]
    else:
        rows, problem = _rows_by_csv(lines, delimiter)
        if problem is not None and delimiter == "\t":
            by_line = _rows_by_line(lines, delimiter)
            if len({len(row.cells) for row in by_line}) == 1:
                rows, problem = by_line, None
    if problem is not None:
        raise DataError(f"{str(path)!r} cannot be read as a table: {problem}")
    header = tuple(clean_name(name) for name in rows[0].cells) if rows and rows[0].line == 1 else ()
    named = [name for name in header if name]
    if not rows:
        raise DataError(f"{str(path)!r} has no rows; expected a first line of different column names")
    if not named or len(set(named)) != len(named):
        raise DataError(f"{str(path)!r} needs a first line of different column names, but it is {list(header)!r}")
    full = tuple(row for row in rows[1:] if any(cell.strip() for cell in row.cells))
    return TextTable(path, header, full, encoding)


def table_rows(path: Path, *columns: str) -> Iterator[tuple[str, dict[str, str] | SampleError]]:
    """Rows of a table as manifest entries: location, and column to text without empty cells.

    Args:
        path: The file.
        columns: Required columns, apart from ``name``.

    Raises:
        DataError: If the file is not such a table, or lacks a column.
    """
    table = read_table(path)
    wanted = ("name", *columns)
    if not set(wanted) <= set(table.columns):
        raise DataError(
            f"{str(path)!r} needs a first line of different column names, among them {', '.join(wanted)}, but it is "
            f"{list(table.columns)!r}{_other_delimiter(table.columns)}"
        )
    for row in table.rows:
        location, problem = table.location(row), table.misfit(row)
        if problem is not None:
            yield location, fault(location, "wrong_row", problem)
        else:
            yield location, {name: cell for name, cell in table.as_dict(row).items() if cell.strip()}


def _decoded(path: Path, other_encoding: str | None = None) -> tuple[str, str]:
    """The text of a file, and its encoding."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{str(path)!r} cannot be opened: {reason}; check the path") from error
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as Windows programs write "Unicode text"
            return content.decode("utf-16"), "utf-16"
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if other_encoding is not None:
            return content.decode(other_encoding, errors="replace"), other_encoding
        guess = _guess_encoding(content)
        raise DataError(
            f"{str(path)!r} is not UTF-8 text (byte {content[error.start]:#04x} at {error.start}); it looks like "
            f"{guess}: convert it with iconv -f {guess} -t UTF-8"
        ) from error


def _guess_encoding(content: bytes) -> str:
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or content[1:2] == b"\0":
        return "UTF-16"
    try:
        content.decode("gb18030")
    except UnicodeDecodeError:
        return "latin1"
    return "GB18030"


def _rows_by_csv(lines: Sequence[str], delimiter: str) -> tuple[list[TableRow], str | None]:
    """The rows by the rules of csv, and a description of what breaks the rules, or ``None``."""
    rows: list[TableRow] = []
    start = 1
    longest = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for cells in reader:
            rows.append(TableRow(start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        return rows, f"the row that begins on line {start} cannot be read ({error}); check its quotes"
    finally:
        csv.field_size_limit(longest)
    swallowed = first_swallowed([(row.line, row.cells) for row in rows], lines, delimiter)
    if swallowed is None:
        return rows, None
    opened, line = swallowed
    return rows, (
        f"a quotation opens on line {opened} and closes later, so that line {line}, which looks like a row of its own, "
        "would be part of one cell; check its quotes: write the table with a csv writer, which doubles quotes, or as "
        ".jsonl"
    )


def _rows_by_line(lines: Iterable[str], delimiter: str) -> list[TableRow]:
    """Each line as a row: by the rules of csv if it follows them, else with quotes as ordinary characters."""
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
            except csv.Error:
                cells = _split(line, delimiter)
            rows.append(TableRow(number, cells))
    return rows


def _split(line: str, delimiter: str) -> list[str]:
    return line.rstrip("\r\n").split(delimiter)


def _other_delimiter(columns: Sequence[str]) -> str:
    """A hint for a table with another delimiter than its suffix says."""
    found = next((sign for sign in (";", "\t", ",", "|") if len(columns) == 1 and sign in columns[0]), None)
    return "" if found is None else f"; the cells seem to be separated by {found!r}: use ',' in .csv and tabs in .tsv"
