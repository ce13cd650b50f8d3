"""The Chinese pages say the same as the English ones: their commands, figures, names, and where they lead."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.name for path in (ROOT / "docs" / "zh").glob("*.md"))


def page(name: str, folder: str = "docs") -> str:
    return (ROOT / folder / name).read_text("utf-8")


def commands(text: str) -> set[str]:
    """Calls of the command line in blocks, without remarks; optional arguments of a usage line do not count."""
    blocks = re.findall(r"```(?:\w+)?\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return {line for line in lines if line.startswith("affectgpt ")}


def figures(text: str) -> set[str]:
    """Numbers of the text, outside code and links."""
    plain = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    return set(re.findall(r"\d[\d,.]*\d|\d+", plain))


def first_cells(text: str) -> list[tuple[str, ...]]:
    """The code in the first cell of each row of a table, where there is any."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return [found for row in rows if (found := tuple(re.findall(r"`([^`]+)`", row)))]


def targets(text: str) -> set[str]:
    """Pages that a text leads to, by their location in docs."""
    return {link.removeprefix("../") for link in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", text)}


@pytest.mark.parametrize("name", [name for name in PAGES if name != "index.md"])
def test_figures_are_those_of_the_english_page(name: str) -> None:
    assert figures(page(name, "docs/zh")) - figures(page(name)) == set()


def test_the_start_pages_lead_to_the_same_pages() -> None:
    assert targets(page("index.md")) - targets(page("index.md", "docs/zh")) - {"zh/index.md"} == set()


def test_every_question_has_its_answer_and_its_command() -> None:
    english, chinese = page("faq.md"), page("faq.md", "docs/zh")
    assert chinese.count("\n### ") == english.count("\n### ")
    assert commands(english) - commands(chinese) == set()


def test_both_installing_pages_name_every_extra() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    for folder in ("docs", "docs/zh"):
        named = {cell for cells in first_cells(page("install.md", folder)) for cell in cells}
        assert named >= extras - {"dev", "docs"}, folder


def test_a_manifest_has_the_same_keys_in_both_languages() -> None:
    english, chinese = first_cells(page("data.md")), first_cells(page("data.md", "docs/zh"))
    begin = english.index(("name",))
    keys = english[begin : english.index(("split",)) + 1]
    assert [cells for cells in chinese if cells in keys] == keys
