"""encode, fit, validate and predict as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from affectgpt.cli.main import main
from clipmaker import make_clip
from tinyencoders import save_clip, tiny_config


def write_run(folder: Path, model: dict[str, Any], shards: Path, name: str = "run.yaml", **data: str) -> Path:
    path = folder / name
    args = {"train": str(shards), "batch_size": 4, "num_workers": 0, "task": "labels", **data}
    checkpoint = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {"dirpath": str(folder), "filename": "model", "enable_version_counter": False},
    }
    trainer = {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": str(folder), "logger": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "callbacks": [checkpoint]}
    run = {"seed_everything": 42, "model": model, "data": {"name": "mercaption", "args": args}}
    path.write_text(yaml.safe_dump({**run, "trainer": {**trainer, **quiet}}, sort_keys=False))
    return path


def test_encode_fit_validate_and_predict(config, shards, tmp_path, capsys):
    run = write_run(tmp_path, config, shards)
    features = str(tmp_path / "features")
    assert main(["encode", str(run), str(shards), features, "--num-workers", "0", "--json"]) == 0
    shown = capsys.readouterr()
    assert "frame: ClipVitEncoder, 12 wide, key " in shown.err
    assert "encoded 10 clips into 4 shard(s)" in shown.err
    report = json.loads(shown.out)
    assert (report["samples"], report["encoded"], report["dtype"]) == (10, 10, "float16")
    assert set(report["streams"]) == {"frame", "audio"}

    given = write_run(tmp_path, config, Path(features), "features.yaml", val=features, predict=features)
    assert main(["fit", "--config", str(given), "--debug"]) == 0
    shown = capsys.readouterr()
    assert f"frame: from stored features (key {report['streams']['frame']})" in shown.err
    assert "audio: from stored features" in shown.err
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert not [name for name in saved["state_dict"] if name.startswith("encoders.")]
    assert main(["validate", "--config", str(given), "--ckpt_path", str(tmp_path / "model.ckpt"), "--debug"]) == 0
    assert "frame: from stored features" in capsys.readouterr().err
    clip = tmp_path / "new.mp4"
    clip.write_bytes(make_clip(0.5))
    assert main(["predict", str(clip), "--checkpoint", str(tmp_path / "model.ckpt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["used"] == ["frame", "audio", "multi"]


def test_a_run_with_media_to_validate_on_keeps_its_encoders(config, shards, tmp_path, capsys):
    run = write_run(tmp_path, config, shards)
    features = tmp_path / "features"
    assert main(["encode", str(run), str(shards), str(features), "--num-workers", "0"]) == 0
    mixed = write_run(tmp_path, config, features, "mixed.yaml", val=str(shards))
    assert main(["fit", "--config", str(mixed), "--debug"]) == 0
    assert "stored features" not in capsys.readouterr().err


def test_features_of_other_weights_are_refused_with_both_keys(networks, config, shards, tmp_path, capsys):
    run = write_run(tmp_path, config, shards)
    features = tmp_path / "features"
    assert main(["encode", str(run), str(shards), str(features), "--num-workers", "0"]) == 0
    other = {**config["streams"]["frame"]["encoder"], "args": {"path": str(save_clip(tmp_path / "clip2", seed=2))}}
    streams = {**config["streams"], "frame": {"encoder": other}}
    changed = write_run(tmp_path, {**config, "streams": streams}, features, "changed.yaml")
    capsys.readouterr()
    assert main(["fit", "--config", str(changed)]) == 1
    error = capsys.readouterr().err
    assert "the features of stream 'frame'" in error
    assert "encoder.weights: 'sha256:" in error
    assert "Encode the clips again" in error


@pytest.mark.parametrize("extra", [["--streams", "audio"], ["--dtype", "bfloat16"], ["--overwrite"]])
def test_options_of_encode(extra, config, shards, tmp_path, capsys):
    run = write_run(tmp_path, config, shards)
    features = str(tmp_path / "features")
    assert main(["encode", str(run), str(shards), features, "--num-workers", "0", "--json", *extra]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dtype"] == ("bfloat16" if "--dtype" in extra else "float16")
    assert set(report["streams"]) == ({"audio"} if "--streams" in extra else {"frame", "audio"})
    assert main(["encode", str(run), str(shards), features]) == 1
    assert "already exists" in capsys.readouterr().err


def test_fit_names_the_seeds_where_features_of_random_encoders_differ(shards, tmp_path, capsys):
    run = write_run(tmp_path, tiny_config(), shards)
    features = str(tmp_path / "features")
    arguments = ["encode", str(run), str(shards), features, "--num-workers", "0", "--untrained"]
    assert main([*arguments, "--seed", "7"]) == 0
    given = write_run(tmp_path, tiny_config(), Path(features), "features.yaml")
    capsys.readouterr()
    assert main(["fit", "--config", str(given)]) == 1
    assert (
        "The encoder's weights are random unless a checkpoint brought them: this run draws them with "
        "seed_everything=42, the features were made with seed_everything=7; give both the same seed"
    ) in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0  # with the seed of the configuration
    assert main(["fit", "--config", str(given), "--debug"]) == 0
