"""``affectgpt fit`` with an objective: it learns from rewards, and its checkpoint answers like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectgpt import AffectGPT
from affectgpt.cli.main import main

CONFIG = """
model:
  streams:
    audio: {{encoder: {{name: tiny-audio, args: {{dim: 8, num_mels: 8, channels: 4}}}}}}
    frame: {{encoder: {{name: tiny-vision, args: {{size: 16, dim: 8, channels: 2}}}}}}
  prefusion: none
  llm: {{name: tiny, args: {{dim: 16}}}}
  style: brief
  media: {{num_frames: 1, frame_height: 16, frame_width: 16, num_segments: 1, segment_seconds: 0.1}}
  max_new_tokens: 8
  optim: {{lr: 1.0e-3, warmup_steps: 0}}
objective:
  name: grpo
  args:
    group_size: 3
    rewards:
      f1: {{name: wheel, args: {{figure: f1}}}}
      short: {{name: length, args: {{free: 2, most: 8}}, weight: 0.5}}
      words: {{name: repetition, args: {{num_words: 1}}}}
data: {{name: mercaption, args: {{train: {shards}, batch_size: 2, num_workers: 0, task: labels}}}}
trainer: {{max_steps: 2, accelerator: cpu, logger: false, enable_progress_bar: false, enable_model_summary: false,
  default_root_dir: {out}}}
"""

pytestmark = pytest.mark.filterwarnings("ignore")


def test_fit_learns_from_rewards(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "grpo.yaml"
    config.write_text(CONFIG.format(shards=shards, out=tmp_path / "run"))
    assert main(["fit", "--config", str(config)]) == 0
    assert "wrote" in capsys.readouterr().out
    (written,) = (tmp_path / "run/checkpoints").glob("epoch*.ckpt")
    assert isinstance(AffectGPT.from_checkpoint(written), AffectGPT)
    assert "name: grpo" in (tmp_path / "run/config.yaml").read_text()


def test_a_wrong_objective_is_an_error_that_names_the_right_ones(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "grpo.yaml"
    text = CONFIG.format(shards=shards, out=tmp_path / "run")
    config.write_text(text.replace("name: grpo", "name: gpro"))
    assert main(["fit", "--config", str(config)]) != 0
    assert "Did you mean 'grpo'?" in capsys.readouterr().err
    config.write_text(text.replace("group_size: 3", "group_size: 1"))
    assert main(["fit", "--config", str(config)]) != 0
    assert "group_size is 1" in capsys.readouterr().err
