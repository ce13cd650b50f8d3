"""The small closed loop runs as its configuration says, command by command."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from affectgpt.cli.main import main

CONFIG = Path(__file__).resolve().parents[2] / "experiments" / "small_frozen.yaml"


def test_pack_encode_fit_predict_as_the_configuration_says(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    shutil.copy(CONFIG, tmp_path / "experiments")
    names = {"CLIPS": str(corpus / "manifest.jsonl"), "CLIP": str(corpus / "clip1.mp4")}
    commands = re.findall(r"^#   affectgpt (.*)$", CONFIG.read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["pack", "encode", "fit", "predict"]
    for command in commands:
        assert main([names.get(word, word) for word in shlex.split(command)]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "used       frame, audio" in shown
    index = json.loads((tmp_path / "runs" / "small" / "features" / "index.json").read_text())
    assert index["form"] == "features"
    rows = (tmp_path / "runs" / "small" / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    losses = [float(value) for row in rows[1:] if (value := row.split(",")[column])]
    assert losses[-1] < losses[0]
