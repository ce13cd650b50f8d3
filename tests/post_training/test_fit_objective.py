"""``affectgpt fit`` with an objective: it learns from rewards, and its checkpoint answers like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from fitconfig import write_fit_config

REWARDS = {
    "f1": {"name": "wheel", "args": {"figure": "f1"}},
    "short": {"name": "length", "args": {"free": 2, "most": 8}, "weight": 0.5},
    "words": {"name": "repetition", "args": {"num_words": 1}},
}

pytestmark = pytest.mark.filterwarnings("ignore")


def write_config(folder: Path, shards: Path, name: str = "grpo", group_size: int = 3) -> Path:
    return write_fit_config(
        folder / "grpo.yaml",
        shards,
        model={"max_new_tokens": 8},
        trainer={"max_steps": 2, "logger": False, "default_root_dir": str(folder / "run")},
        objective={"name": name, "args": {"group_size": group_size, "rewards": REWARDS}},
    )


def test_fit_learns_from_rewards(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, shards)
    assert main(["fit", "--config", str(config)]) == 0
    assert "wrote" in capsys.readouterr().out
    (written,) = (tmp_path / "run/checkpoints").glob("epoch*.ckpt")
    assert isinstance(AffectGPT.from_checkpoint(written), AffectGPT)
    assert "name: grpo" in (tmp_path / "run/config.yaml").read_text()


def test_a_wrong_objective_is_an_error_that_names_the_right_ones(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(write_config(tmp_path, shards, name="gpro"))]) != 0
    assert "Did you mean 'grpo'?" in capsys.readouterr().err
    assert main(["fit", "--config", str(write_config(tmp_path, shards, group_size=1))]) != 0
    assert "group_size is 1" in capsys.readouterr().err
