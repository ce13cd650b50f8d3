"""Every row of a table in the docs has the cells of its header, on one line: a wrapped row is no row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def cells(line: str) -> int:
    """Cells of a row; a pipe after a backslash is a letter."""
    return len(re.split(r"(?<!\\)\|", line.strip())) - 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: "-".join(page.relative_to(ROOT).parts))
def test_rows_have_the_cells_of_their_header(page: Path) -> None:
    lines = page.read_text("utf-8").split("\n")
    wrong = []
    for number, line in enumerate(lines):
        if not re.fullmatch(r"\|[\s:|-]+\|", line.strip()) or not lines[number - 1].startswith("|"):
            continue
        for below in range(number - 1, len(lines)):
            row = lines[below]
            if not row.strip():
                break
            if not row.startswith("|") or not row.rstrip().endswith("|") or cells(row) != cells(line):
                wrong.append(f"line {below + 1}: {row[:80]}")
    assert not wrong
