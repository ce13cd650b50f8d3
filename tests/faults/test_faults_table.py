"""The table of failures names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_failure_of_data_has_tests_and_they_exist() -> None:
    here = Path(__file__).parent
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", (here / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == [*range(1, 15), *range(18, 29)]
    code = "\n".join(path.read_text("utf-8") for path in here.parent.rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)\(", code, re.MULTILINE))
    for number, cell in rows:
        named = re.findall(r"`(test_\w+)`", cell)
        assert named, f"failure {number} has no test"
        assert set(named) <= there, f"failure {number}: {set(named) - there} do not exist"
