"""The demo, small: the whole road on real clips, and the same report for the same seed."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml

from affectgpt import AffectGPT
from affectgpt.demo.main_job import CONDITIONS, DemoSize, run_demo
from affectgpt.errors import ConfigError

SCORES = {"f1", "precision", "recall", "hit_rate", "samples"}


def settings() -> dict[str, Any]:
    config = yaml.safe_load(resources.files("affectgpt.demo").joinpath("demo.yaml").read_text())
    config["model"]["llm"] = {"name": "tiny", "args": {"dim": 32}}
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder in folders:
        run_demo(folder, DemoSize(num_train=24, num_test=12, pretraining_steps=6, steps=6), settings(), seed=3)
    return folders


def test_report_has_its_layout(runs: list[Path]) -> None:
    report = json.loads((runs[0] / "report.json").read_text())
    assert set(report["scores"]) == set(CONDITIONS) >= {"full", "text", "face+text", "audio+text"}
    assert all(set(score) == SCORES and score["samples"] == 12 for score in report["scores"].values())
    assert {"seconds", "steps", "final_loss"} <= set(report["train"])
    assert {"chance", "wheel", "total_seconds", "peak_rss_mb", "versions"} <= set(report)
    assert report["synthetic"] is True
    for name, (low, high) in report["f1_intervals"].items():
        assert 0 <= low <= report["scores"][name]["f1"] + 1e-4 <= high + 2e-4
    assert set(report["f1_lost"]) == set(CONDITIONS) - {"full"}
    assert "NaN" not in (runs[0] / "report.json").read_text()
    assert "synthetic" in (runs[0] / "report.html").read_text()


def test_the_same_seed_gives_the_same_scores_answers_and_weights(runs: list[Path]) -> None:
    reports = [json.loads((folder / "report.json").read_text()) for folder in runs]
    timed = {"total_seconds", "peak_rss_mb", "train"}
    first, second = ({name: value for name, value in r.items() if name not in timed} for r in reports)
    assert first == second
    assert reports[0]["train"]["final_loss"] == reports[1]["train"]["final_loss"]
    texts = [
        [json.loads(line)["text"] for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for folder in runs
    ]
    assert len(texts[0]) == 12 * len(CONDITIONS)
    assert texts[0] == texts[1]
    states = [AffectGPT.from_checkpoint(folder / "model.ckpt").state_dict() for folder in runs]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_pretraining_changes_the_encoders_and_training_leaves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    fit = lightning.Trainer.fit

    def spy(trainer: lightning.Trainer, module: Any, *args: Any) -> None:
        states.append({key: value.clone() for key, value in module.encoders.state_dict().items()})
        fit(trainer, module, *args)
        states.append({key: value.clone() for key, value in module.encoders.state_dict().items()})

    monkeypatch.setattr(lightning.Trainer, "fit", spy)
    run_demo(tmp_path, DemoSize(num_train=12, num_test=12, pretraining_steps=2, steps=2), settings())
    fresh, pretrained, before_training, trained = states
    assert any(not torch.equal(fresh[key], pretrained[key]) for key in fresh)
    assert all(torch.equal(pretrained[key], trained[key]) for key in fresh)
    assert all(torch.equal(pretrained[key], before_training[key]) for key in fresh)
    model = AffectGPT.from_checkpoint(tmp_path / "model.ckpt")
    restored = model.encoders.state_dict()
    assert all(torch.equal(trained[key], restored[key]) for key in fresh)
    before, after = model.record.trainings()  # both are told on the model's card
    assert (before["steps"], set(before["trained"])) == (2, {"encoder frame", "encoder audio"})
    assert (after["steps"], after["objective"]) == (2, "answers")
    assert not set(before["trained"]) & set(after["trained"])
    assert before["sets"] == after["sets"]
    model.save_pretrained(tmp_path / "shared")
    card = (tmp_path / "shared" / "README.md").read_text("utf-8")
    assert (
        "1. Learnt from the label sets of the clips, by a classifier on the encoders alone: 2 steps in 2 epochs" in card
    )
    assert "| `tiny-vision` | trained, see below |" in card


def test_demo_does_not_clear_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="files that no demo wrote"):
        run_demo(tmp_path, DemoSize(num_train=12, num_test=12, pretraining_steps=1, steps=1), settings())
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_demo_reaches_its_targets(tmp_path: Path) -> None:
    report = run_demo(tmp_path)
    f1 = {name: score["f1"] for name, score in report["scores"].items()}
    assert f1["full"] >= 0.90
    assert f1["full"] - f1["text"] >= 0.40
    assert f1["full"] - max(f1["face+text"], f1["audio+text"]) >= 0.10
    assert report["peak_rss_mb"] < 8 * 1024
