"""Finds rows that a stray quotation mark has drawn into a cell, in tables that were not written by a csv writer."""

from __future__ import annotations

from collections.abc import Sequence


def first_swallowed(
    rows: Sequence[tuple[int, Sequence[str]]], lines: Sequence[str], delimiter: str
) -> tuple[int, int] | None:
    """Find a quotation that contains a row: the line on which it opens, and the line of the first row in it.

    Quoted text may have several lines, so a line within a cell counts as a row only if it looks like one: it has as
    many cells as the header. If the delimiter also occurs in prose, each cell must also be of a kind that occurs in its
    column, and none may begin with a space, as after a comma in prose, unless the table uses such spaces.

    Args:
        rows: Number of the first line, and cells, of every row as read by the rules of csv, the header first.
        lines: The lines of the file.
        delimiter: The character between the cells.
    """
    if not rows:
        return None
    several = [
        (first, last)
        for (first, cells), last in zip(rows, [*(line - 1 for line, _ in rows[1:]), len(lines)], strict=True)
        if last > first and any(delimiter in cell and _is_long(cell) for cell in cells)
    ]
    if not several:
        return None
    kinds = _Kinds(rows, in_prose=delimiter != "\t")
    for first, last in several:
        for number in range(first + 1, last + 1):
            if kinds.fit(lines[number - 1].rstrip("\r\n").split(delimiter)):
                return first, number
    return None


class _Kinds:
    """The kinds of cells in each column, from rows of a single line."""

    def __init__(self, rows: Sequence[tuple[int, Sequence[str]]], *, in_prose: bool) -> None:
        self.in_prose = in_prose
        self.seen: list[set[str]] = [set() for _ in rows[0][1]]
        self.spaced = False
        for number, (_, cells) in enumerate(rows):
            short = [cell for cell in cells if not _is_long(cell)]
            self.spaced = self.spaced or any(cell.startswith(" ") for cell in short)
            if number and len(cells) == len(self.seen):
                for kinds, cell in zip(self.seen, cells, strict=True):
                    kinds.add("text" if _is_long(cell) else _kind(cell))

    def fit(self, cells: Sequence[str]) -> bool:
        """Whether the cells could be a row."""
        if len(cells) != len(self.seen) or len(cells) < 2:
            return False
        if not self.in_prose:
            return True
        if not self.spaced and any(cell.startswith(" ") for cell in cells):
            return False
        return all(
            _kind(cell) in kinds | {""} for kinds, cell in zip(self.seen, cells, strict=True) if "text" not in kinds
        )


def _is_long(cell: str) -> bool:
    return "\n" in cell or "\r" in cell


def _kind(cell: str) -> str:
    """Nothing, a word, a code such as a name with digits or a number, or text of several words.

    Examples:
        >>> [_kind(cell) for cell in ("", "happy", "dia1_utt0", "0.5", '"well then')]
        ['', 'word', 'code', 'code', 'text']
    """
    cell = cell.replace('"', "").strip()
    if not cell:
        return ""
    if len(cell.split()) > 1:
        return "text"
    return "word" if cell.isalpha() else "code"
