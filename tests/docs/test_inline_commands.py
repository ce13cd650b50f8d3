"""Commands in the text, in tables and in indented blocks are verbs with options that exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from affectgpt.bench.external import OTHERS
from affectgpt.cli.main import VERBS
from affectgpt.cli.main import main as cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
INLINE = re.compile(r"(?<!`)`(affectgpt [^`]+)`")
INDENTED = re.compile(r"^ {4}(affectgpt (?:[^\n]*\\\n)*[^\n]*)", re.M)
FORMS = {
    *(("annotate", word) for word in ("review", "export", "import")),
    *(("score", name) for name in (*OTHERS, "preference")),
}
"""Words after a verb that have options of their own."""
LIGHTNING = ("fit", "validate", "test")
"""Verbs whose options are settings; their own tests have them."""


def commands_outside_fences(text: str) -> list[str]:
    """Every call of ``affectgpt`` that is not in a fenced block."""
    plain = FENCED.sub("", text)
    return [re.sub(r"\s*\\?\n\s*", " ", found) for found in [*INLINE.findall(plain), *INDENTED.findall(plain)]]


@cache
def told(*words: str) -> str:
    """The whole help of a verb."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        cli([*words, "--help-all"])
    return out.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist(page: Path) -> None:
    wrong = []
    for command in commands_outside_fences(page.read_text("utf-8")):
        words = shlex.split(command, comments=True)
        verb, options = words[1], [word.split("=")[0] for word in words[2:] if re.match(r"--\w", word)]
        if verb.startswith("-") or verb == "VERB":
            continue
        if verb not in VERBS:
            wrong.append(command)
        elif verb not in LIGHTNING and "--config" not in options:
            form = [word for word in words[2:3] if (verb, word) in FORMS]
            wrong += [command for option in options if not re.search(rf"{option}\b", told(verb, *form))]
    assert wrong == []


def test_commands_are_found_in_tables_and_in_indented_blocks() -> None:
    table, indented = "| `affectgpt pack a b` | x |\n\n", "    affectgpt score meld a \\\n        b --json\n\n"
    text = f"{table}{indented}```bash\naffectgpt demo\n```\n"
    assert commands_outside_fences(text) == ["affectgpt pack a b", "affectgpt score meld a b --json"]
