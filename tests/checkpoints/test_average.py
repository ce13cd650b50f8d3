"""The mean of several checkpoints of one run, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints.average import average_checkpoints
from affectgpt.cli.main import main
from affectgpt.errors import CheckpointError
from tinyencoders import tiny_config


def save(path: Path, seed: int, **changes: object) -> AffectGPT:
    torch.manual_seed(seed)
    model = AffectGPT.from_config(tiny_config(**changes))
    model.save_checkpoint(path)
    return model


def test_the_command_writes_the_mean_of_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{seed}.ckpt" for seed in range(3)]
    models = [save(path, seed) for seed, path in enumerate(paths)]
    out = tmp_path / "mean.safetensors"
    assert main(["convert", str(paths[0]), str(out), "--average", str(paths[1]), str(paths[2])]) == 0
    mean = AffectGPT.load(out).state_dict()
    for name, value in mean.items():
        expected = torch.stack([model.state_dict()[name].double() for model in models]).mean(0)
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)
    assert main(["convert", str(paths[0]), str(tmp_path / "mean.ckpt"), "--average", str(paths[1])]) == 1
    assert "--average writes one file" in capsys.readouterr().err


def test_checkpoints_of_other_models_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt", 0)
    save(tmp_path / "b.ckpt", 0, prefusion="none")
    with pytest.raises(CheckpointError, match="prefusion"):
        average_checkpoints([tmp_path / "a.ckpt", tmp_path / "b.ckpt"])
