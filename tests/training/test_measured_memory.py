"""``affectgpt fit --memory`` counts what two steps take, and the estimate agrees with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import dealing
import tinytrain
from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.training.measured_memory import MeasuredMemory, TensorCounter
from tensorparallel import over, save_lm


def test_every_tensor_counts_once_and_as_long_as_it_is_held() -> None:
    counter = TensorCounter()
    with counter:
        first = torch.zeros(1000)
        view = first[10:].view(-1, 10)
        del first
        second = view * 2
        assert counter.peak_bytes == 4000 + 3960
        del view, second
        third = torch.zeros(1500)
    assert counter.peak_bytes == 4000 + 3960
    assert third.shape == (1500,)


def steps_of(model: AffectGPT) -> tuple[MeasuredMemory, list[str]]:
    lines: list[str] = []
    meter = MeasuredMemory(lines.append)
    tinytrain.train({}, [range(8)] * 5, lambda rows: dealing.make_batch(rows), [meter], model=model)
    return meter, lines


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("checkpointed", "most"), [(False, 0.15), (True, 0.25)])
def test_the_estimate_is_near_what_a_step_takes(
    dropout: float, checkpointed: bool, most: float, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8}
    save_lm(tmp_path, **sizes, num_key_value_heads=2)
    model = AffectGPT.from_config(over(tmp_path, {"dropout": dropout}, gradient_checkpointing=checkpointed))
    meter, (line,) = steps_of(model)
    assert "measured over 2 steps" in line
    assert meter.estimated_bytes == pytest.approx(meter.peak_bytes, rel=most)


def test_layers_in_evaluation_mode_are_recomputed_too(tmp_path: Path) -> None:
    save_lm(tmp_path, hidden_size=128, intermediate_size=512, num_hidden_layers=4)
    peaks = []
    for checkpointed in (False, True):
        model = AffectGPT.from_config(over(tmp_path, {"dropout": 0.1}, gradient_checkpointing=checkpointed))
        peaks.append(steps_of(model)[0].peak_bytes)
        assert not model.llm.shard_units()[0].self_attn.training, "what is frozen drops nothing"
    assert peaks[1] < 0.6 * peaks[0]


def test_the_command_ends_after_two_steps_and_leaves_no_run(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media = {"num_frames": 2, "num_segments": 1, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32}
    model = {
        "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
        "llm": "tiny",
        "style": "brief",
        "media": media,
    }
    data = {"name": "mercaption", "args": {"train": str(shards), "batch_size": 2, "num_workers": 0}}
    run = tmp_path / "run"
    trainer = {"accelerator": "cpu", "max_steps": 9, "enable_progress_bar": False, "default_root_dir": str(run)}
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({"model": model, "data": data, "trainer": trainer}))
    assert main(["fit", "--config", str(config), "--memory"]) == 0
    printed = capsys.readouterr().out
    assert "memory of the device, measured over 2 steps: " in printed
    assert "; by formula " in printed
    assert not [*run.rglob("*.ckpt"), *run.rglob("metrics.csv")]
    assert main(["fit", "--config", str(config), "--memory", "--profile"]) == 1
    assert "give one of them" in capsys.readouterr().err
