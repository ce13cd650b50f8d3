"""The experiment on learning from pairs runs from its one command to its report, with a tiny model and few pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from conftest import load_script


@pytest.mark.filterwarnings("ignore")
def test_one_command_leads_from_pairs_to_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("experiments/dpo_synthetic.py")
    torch.manual_seed(0)
    adapters = {"rank": 2, "alpha": 4, "dropout": 0.0}
    model = AffectGPT.from_config(
        {
            "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
            "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2, "lora": adapters, "trainable": False}},
            "style": "brief",
            "media": {"num_frames": 2, "frame_height": 32, "frame_width": 32, "num_segments": 2},
        }
    )
    model.save_checkpoint(tmp_path / "model.ckpt")
    out = tmp_path / "run"
    sizes = {"pairs": 16, "test-pairs": 12, "supervised-steps": 1}
    arguments = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["dpo_synthetic.py", "--demo", str(tmp_path), "--out", str(out), *arguments])
    script.main()
    shown = capsys.readouterr().out
    run = [line.split()[1] for line in shown.splitlines() if line.startswith("affectgpt ")]
    assert run == ["pack", "encode"] * 2 + ["fit"] * 2 + ["score"] * 2
    assert "12 held-out pairs, gain of weighted F1" in shown
    report = json.loads((out / "report.json").read_text())
    assert {report[name]["strict"]["samples"] for name in ("before", "after")} == {12}
    assert report["curves"]["train/loss"][0] == pytest.approx(0.6931, abs=1e-3)
    low, high = report["gain"][1:]
    assert low <= report["gain"][0] <= high
