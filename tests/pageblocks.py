"""Reads the fenced blocks of the README and of the documentation, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(
    r"(?:<!-- (?:not run: (?P<reason>[^>]+)|shown: (?P<shown>[^>]+)) -->\n)?"
    r"^(?P<margin> *)```(?P<kind>\w*)\n(?P<text>.*?)^ *```$",
    re.M | re.S,
)
EXIT_CODE = re.compile(r"#.*\bends with (\d+)\b")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        page: The page, relative to the project.
        number: Its position among the page's blocks that name a language.
        kind: The language that the fence names; empty for what a command prints.
        text: What is in it.
        reason: Why it is not run, or ``None``.
        shown: Of printed lines: where they come from, if not from the reader's folder.
        follows: The kind of the block that stands right before it, without a word in between.
    """

    page: str
    number: int
    kind: str
    text: str
    reason: str | None
    shown: str | None
    follows: str

    @property
    def name(self) -> str:
        """The page and the position on it."""
        return f"{self.page}:{self.number}"


@dataclass(frozen=True)
class Command:
    """One command of a block.

    Attributes:
        words: Its words, those of the variables before it left out.
        code: The exit code that the page tells; 0 where it tells none.
        variables: What is set for it, or by it where it is an ``export``.
        output: The file that its output goes to.
    """

    words: tuple[str, ...]
    code: int = 0
    variables: tuple[tuple[str, str], ...] = ()
    output: str | None = None


def read_blocks(pages: list[Path] | None = None) -> list[Block]:
    """Every fenced block of the README and of the documentation, in the order of the pages."""
    pages = pages or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [block for page in pages for block in _of_page(page)]


def _of_page(page: Path) -> list[Block]:
    text, blocks, number, end = page.read_text("utf-8"), [], 0, 0
    for found in FENCE.finditer(text):
        between = text[end : found.start()].strip()
        blocks.append(
            Block(
                str(page.relative_to(ROOT)),
                number,
                found["kind"],
                "".join(line.removeprefix(found["margin"]) for line in found["text"].splitlines(keepends=True)),
                found["reason"],
                found["shown"],
                blocks[-1].kind if blocks and not between else "",
            )
        )
        number += bool(found["kind"])
        end = found.end()
    return blocks


def read_commands(text: str) -> list[Command]:
    """The commands of a block, each with what the page says of it."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        told = EXIT_CODE.search(line)
        output = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if output is not None else words
        export = words[0] == "export"
        variables = []
        while (found := re.fullmatch(r"(\w+)=(.*)", words[export])) is not None:
            variables.append((found[1], found[2]))
            del words[export]
            if len(words) == export:
                break
        commands.append(Command(tuple(words), int(told[1]) if told else 0, tuple(variables), output))
    return commands
