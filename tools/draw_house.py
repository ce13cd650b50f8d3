"""Draw the tree and the layers of the package into docs/architecture.md, from the files and their own first lines.

python tools/draw_house.py           # rewrite the two drawings in docs/architecture.md
python tools/draw_house.py --check   # exit with 1 where they are out of date
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "affectgpt"
PAGE = ROOT / "docs" / "architecture.md"
WIDTH = 118


def draw_tree(folder: Path = PACKAGE, depth: int = 0) -> list[str]:
    """One line a room with what its ``__init__`` says of it, and below it the files that it holds."""
    margin = "  " * depth
    sentence = first_sentence(folder / "__init__.py")
    lines = [f"{margin}{folder.name}/".ljust(24) + sentence if depth else f"src/{folder.name}/"]
    files = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    if files:
        inner = "  " * (depth + 1)
        lines += textwrap.wrap("  ".join(files), WIDTH, initial_indent=inner, subsequent_indent=inner)
    for room in sorted(path.parent for path in folder.glob("*/__init__.py")):
        lines += draw_tree(room, depth + 1)
    return lines


def first_sentence(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]


def draw_layers() -> list[str]:
    """The layers of the import contract, top first; rooms in one line may not import a room above them."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    return [layer.replace("affectgpt.", "").replace(" : ", "   ") for layer in contract[0]["layers"]]


def redraw(page: str) -> str:
    """The page with both drawings as the code is now."""
    for name, lines in (("tree", draw_tree()), ("layers", draw_layers())):
        block = "\n".join([f"<!-- {name} -->", "```", *lines, "```", f"<!-- end of {name} -->"])
        page, found = re.subn(rf"<!-- {name} -->.*?<!-- end of {name} -->", lambda _, b=block: b, page, flags=re.DOTALL)
        if not found:
            raise SystemExit(f"{PAGE} has no marks <!-- {name} --> ... <!-- end of {name} -->")
    return page


def main() -> int:
    """Rewrite the page, or compare with it."""
    parser = argparse.ArgumentParser(description="Draw the house into docs/architecture.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where it is out of date")
    check = parser.parse_args().check
    old = PAGE.read_text(encoding="utf-8")
    new = redraw(old)
    if check:
        return int(new != old)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
