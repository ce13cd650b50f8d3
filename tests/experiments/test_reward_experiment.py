"""The experiment on learning from rewards runs from its one command to its report, with small parts and few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from conftest import load_script


@pytest.mark.filterwarnings("ignore")
def test_one_command_leads_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("experiments/grpo_synthetic.py")
    config = yaml.safe_load(script.CONFIG.read_text())
    config["model"]["llm"] = {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2}}
    config["model"]["max_new_tokens"] = 4
    config["objective"]["args"]["rewards"]["short"] = {"name": "length", "args": {"free": 1, "most": 4}}
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump(config))
    monkeypatch.setattr(script, "CONFIG", small)
    out = tmp_path / "run"
    sizes = {"train-clips": 12, "test-clips": 12, "encoder-steps": 1, "supervised-steps": 1, "steps": 1}
    arguments = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["grpo_synthetic.py", "--out", str(out), *arguments])
    script.main()
    shown = capsys.readouterr().out
    assert shown.count("affectgpt fit --config") == 2
    assert "gain of F1" in shown
    report = json.loads((out / "report.json").read_text())
    assert report["gain"]["num_clips"] == 12
    assert {*report["faithfulness"]} == {"supervised", "grpo"}
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "Held-out clips" in page
