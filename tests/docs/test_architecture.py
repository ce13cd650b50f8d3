"""The architecture page shows the house as it is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from conftest import load_script

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PACKAGE = ROOT / "src" / "affectgpt"
SAME_SUBJECT = {
    *("base", "charts", "emotion_classes", "hit_rate", "page", "preference", "sentiment", "template", "tiny"),
    "wheel_score",
}
"""File names that stand in several rooms and say the same thing in each."""


def test_the_drawings_are_up_to_date() -> None:
    draw = load_script("tools/draw_house.py")
    assert draw.redraw(PAGE) == PAGE, "run: python tools/draw_house.py"


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", PAGE)
    assert len(named) > 40
    assert [name for name in named if not (PACKAGE / name).exists()] == []


def test_a_file_name_is_used_once_or_says_the_same_thing() -> None:
    rooms = [room for room in PACKAGE.rglob("*.py") if room.parent.name != "cli" and room.stem != "__init__"]
    twice = {name for name, count in Counter(path.stem for path in rooms).items() if count > 1}
    assert twice <= SAME_SUBJECT


def test_the_root_holds_only_what_everybody_imports() -> None:
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    for name in files:
        users = [p for p in PACKAGE.rglob("*.py") if re.search(rf"from affectgpt\.{name} import", p.read_text("utf-8"))]
        assert len({p.relative_to(PACKAGE).parts[0] for p in users}) >= 3, f"{name}.py has few users; move it to one"
