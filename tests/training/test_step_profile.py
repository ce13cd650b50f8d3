"""``affectgpt fit --profile`` records ten steps, and says in words where their time went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.training.step_profile import SUMMARY, TRACE

CONFIG = """
model:
  streams: {frame: tiny-vision, audio: tiny-audio}
  llm: {name: tiny, args: {dim: 16, layers: 1, heads: 2}}
  style: brief
  media: {num_frames: 2, num_segments: 1, segment_seconds: 0.25, frame_height: 32, frame_width: 32}
data:
  name: mercaption
  args: {batch_size: 2, num_workers: 0}
trainer:
  accelerator: cpu
  max_steps: 2
  accumulate_grad_batches: 2
  enable_progress_bar: false
  callbacks: [{class_path: ModelCheckpoint, init_args: {every_n_train_steps: 1}}]
"""


def test_ten_steps_are_profiled_and_summed_up(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG)
    run = tmp_path / "run"
    argv = ["fit", "--config", str(config), "--data.args.train", str(shards), "--trainer.default_root_dir", str(run)]
    assert main([*argv, "--profile"]) == 0
    text = (run / SUMMARY).read_text()
    assert text in capsys.readouterr().out
    assert text.startswith("10 training steps, ")
    for stage in ("waiting for data", "encoder frame", "llm", "backward pass", "clipping and optimiser"):
        assert f"ms  {stage}\n" in text
    assert "aten::" in text
    assert "read a value of a tensor, a step" in text
    steps = {event["name"] for event in json.loads((run / TRACE).read_text())["traceEvents"] if "name" in event}
    assert len({name for name in steps if name.startswith("ProfilerStep#")}) == 10
    assert {path.name for path in run.iterdir()} == {SUMMARY, TRACE}, "neither a checkpoint nor a log"
