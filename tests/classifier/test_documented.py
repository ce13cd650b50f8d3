"""The documented example of training parts alone runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "parts.md"


def test_the_example_of_training_alone_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "Classifier" in block
    ]
    assert len(blocks) == 1
    space: dict[str, object] = {}
    exec(compile(blocks[0], str(PAGE), "exec"), space)
    assert (tmp_path / "classifier.ckpt").is_file()
    assert space["weights"]
