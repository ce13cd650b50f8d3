"""The examples of the page on wheels run, and say what comes out."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "wheel.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example_runs(number):
    space = {"__name__": "page"}
    exec(compile(BLOCKS[number], f"wheel.md block {number}", "exec"), space)
    if "score" in space:
        assert space["wheel"].group("overjoyed") == "happy"
        assert 0 < float(space["score"].compute()["f1"]) <= 1
    if "boot" in space:
        assert set(space["boot"].compute()) == {"mean", "std", "quantile"}
    if "MyModel" in space:
        assert space["MyModel"]().f1.higher_is_better
