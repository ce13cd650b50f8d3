"""``fit --start``: training goes on from a stored model, with its configuration and its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore")

STREAMS = {
    "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}},
    "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}},
}
LLM = {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 2, "targets": ["q_proj"]}, "trainable": False}}


@pytest.fixture
def stored(tmp_path: Path) -> AffectGPT:
    torch.manual_seed(5)
    media = {"frame_height": 32, "frame_width": 32, "segment_seconds": 0.2, "num_frames": 2}
    model = AffectGPT(streams=STREAMS, llm=LLM, media=media, style="brief", max_tokens=256)
    model.save_pretrained(tmp_path / "stored")
    model.save_checkpoint(tmp_path / "stored.ckpt")
    return model


def fit(shards: Path, tmp_path: Path, *more: str) -> int:
    config = tmp_path / "fit.yaml"
    config.write_text(
        f"model: {{optim: {{lr: 1.0e-3, warmup_steps: 0}}}}\n"
        f"data: {{name: mercaption, args: {{train: {shards}, batch_size: 2}}}}\n"
        f"trainer: {{max_steps: 1, accelerator: cpu, logger: false, enable_progress_bar: false, "
        f"enable_model_summary: false, default_root_dir: {tmp_path}}}\n"
    )
    return main(["fit", "--config", str(config), *more])


@pytest.mark.parametrize("form", ["stored", "stored.ckpt"])
def test_training_starts_from_the_weights_and_settings_of_a_stored_model(shards, tmp_path, stored, form):
    assert fit(shards, tmp_path, "--start", str(tmp_path / form)) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    tuned = AffectGPT.from_checkpoint(written)
    assert tuned.optim.lr == 1e-3
    assert list(tuned.specs) == ["audio", "frame"], "the order of the streams is that of the stored model"
    before, after = stored.state_dict(), tuned.state_dict()
    assert before.keys() == after.keys()
    trained = {name for name, p in stored.named_parameters() if p.requires_grad}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same >= before.keys() - trained
    steps = [float((before[name] - after[name]).abs().max()) for name in trained]
    assert 0 < max(steps) < 5e-3, "one step of 1e-3 away from where it started"


def test_another_configuration_is_refused(shards, tmp_path, stored, capsys):
    assert (
        fit(shards, tmp_path, f"--start={tmp_path / 'stored'}", "--model.max_new_tokens=7", "--model.style=official")
        == 1
    )
    assert "style: 'brief' in the checkpoint, 'official' here" in capsys.readouterr().err
    assert fit(shards, tmp_path, f"--start={tmp_path / 'none.ckpt'}") == 1
    assert "no checkpoint at" in capsys.readouterr().err
