"""The README's examples run, and its configurations build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from affectgpt.encoders.streams import read_streams
from affectgpt.registry import ENCODERS

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme_example_runs(number: int) -> None:
    space: dict[str, object] = {"__name__": "readme"}
    exec(compile(BLOCKS[number], f"README.md block {number}", "exec"), space)
    if "token" in space:
        assert tuple(space["token"].shape) == (2, 1, 1024)
    if "model" in space:
        assert "my-face" in ENCODERS
        assert space["model"].specs["face"].encoder.name == "my-face"


def test_readme_examples_are_as_short_as_they_claim() -> None:
    lines = [[line for line in block.splitlines() if line.strip()] for block in BLOCKS]
    assert len(lines[0]) <= 8
    body = lines[1][next(i for i, line in enumerate(lines[1]) if line.startswith("@")) : -1]
    assert len(body) <= 12


def test_files_that_the_readme_names_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"\]\((docs/[^)]+)\)", text) + re.findall(r"(experiments/\S+\.yaml)", text)
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_stream_example_of_the_docs_is_read() -> None:
    block = re.search(r"```yaml\n(streams:.*?)```", (ROOT / "docs" / "parts.md").read_text(), re.DOTALL)
    assert block is not None
    streams = read_streams(yaml.safe_load(block[1])["streams"])
    assert streams["close-up"].source == "frame"
    assert all(stream.encoder.name in ENCODERS for stream in streams.values())
