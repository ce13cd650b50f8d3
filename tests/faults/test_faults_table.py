"""The table of failures names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path


def rows_of(letter: str) -> list[tuple[int, str]]:
    """Number and tests of the failures whose numbers begin with a letter."""
    text = (Path(__file__).parent / "README.md").read_text("utf-8")
    found = re.findall(rf"^\| {letter}(\d+) \| .* \| (.*) \|$", text, re.MULTILINE)
    return [(int(number), cell) for number, cell in found]


def check_tests(rows: list[tuple[int, str]]) -> None:
    """Refuse a failure without a test, or with one that does not exist."""
    code = "\n".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)\(", code, re.MULTILINE))
    for number, cell in rows:
        named = re.findall(r"`(test_\w+)`", cell)
        assert named, f"failure {number} has no test"
        assert set(named) <= there, f"failure {number}: {set(named) - there} do not exist"


def test_every_failure_of_data_has_tests_and_they_exist() -> None:
    rows = rows_of("")
    assert [number for number, _ in rows] == [*range(1, 15), *range(18, 29)]
    check_tests(rows)


def test_every_failure_of_what_answers_has_tests_and_they_exist() -> None:
    rows = rows_of("A")
    assert [number for number, _ in rows] == list(range(1, 11))
    check_tests(rows)
