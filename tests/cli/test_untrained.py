"""Verbs that answer, score or encode refuse weights that nobody has trained, and say how to name others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from affectgpt.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def config(shards: Path, tmp_path: Path) -> Path:
    model = {
        "streams": {"frame": {"encoder": {"name": "tiny-vision", "args": {"size": 32, "dim": 8, "channels": 2}}}},
        "prefusion": {"name": "none"},
        "llm": {"name": "tiny", "args": {"dim": 16}},
        "style": "brief",
        "media": {"num_frames": 1, "frame_height": 32, "frame_width": 32},
        "max_new_tokens": 1,
    }
    data = {"name": "mercaption", "args": {stage: str(shards) for stage in ("train", "val", "test", "predict")}}
    data["args"]["num_workers"] = 0
    trainer = {"accelerator": "cpu", "logger": False, "default_root_dir": str(tmp_path), "enable_progress_bar": False}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"seed_everything": 7, "model": model, "data": data, "trainer": trainer}))
    return path


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_a_bare_configuration_is_refused_until_a_checkpoint_is_named(verb, config, tmp_path, capsys):
    assert main([verb, "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert "no trained weights" in said
    assert "--ckpt_path" in said
    assert not (tmp_path / "predictions.jsonl").exists()


def test_who_means_it_may(config, tmp_path):
    assert main(["predict", "--config", str(config), "--untrained"]) == 0
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 10


def test_encode_refuses_random_encoders_and_takes_the_seed_of_the_configuration(config, shards, tmp_path, capsys):
    command = ["encode", str(config), str(shards), str(tmp_path / "out"), "--num-workers", "0"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "stream 'frame'" in said
    assert "names no weights" in said
    assert not (tmp_path / "out").exists()
    assert main([*command, "--untrained"]) == 0
    assert "a model with seed_everything 7" in capsys.readouterr().err
    fit = ["fit", "--config", str(config), "--trainer.max_steps=1", f"--data.args.train={tmp_path / 'out'}"]
    assert main([*fit, "--data.args.val=null", "--model.slots=[frame]"]) == 0, "the features are those of this seed"


def test_bench_refuses_a_configuration(config, tmp_path, capsys):
    assert main(["bench", "--model", str(config), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "has no trained weights" in capsys.readouterr().err
