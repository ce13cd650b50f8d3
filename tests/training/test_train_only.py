"""Training of the fusion alone: what is frozen stays as it is, is stored all the same, and is told at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError
from affectgpt.llm import TinyLM

pytestmark = pytest.mark.filterwarnings("ignore")

FUSION = ["poolings", "prefusion", "projectors"]


def config(tmp_path: Path, **optim: Any) -> dict[str, Any]:
    """A model with adapters over a language model in a folder, as a large one has them."""
    folder = tmp_path / "lm"
    if not folder.is_dir():
        torch.manual_seed(0)
        head = TinyLM(dim=32)
        head.network.save_pretrained(folder)
        head.tokenizer.save_pretrained(folder)
    return {
        "streams": {
            "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}},
            "frame": {
                "encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}},
                "trainable": True,
            },
        },
        "llm": {
            "name": "causal-lm",
            "args": {"path": str(folder), "lora": {"rank": 2, "targets": ["q_proj"], "dropout": 0.5}},
        },
        "prefusion": "gated",
        "style": "brief",
        "max_tokens": 256,
        "media": {"frame_height": 32, "frame_width": 32, "segment_seconds": 0.2, "num_frames": 2},
        "optim": {"lr": 1e-2, "warmup_steps": 0, **optim},
    }


def test_only_the_fusion_is_trained_and_frozen_adapters_are_stored(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    base = AffectGPT.from_config(config(tmp_path))
    with torch.no_grad():
        for name, weight in base.llm.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    base.save_checkpoint(tmp_path / "base.ckpt")
    run = tmp_path / "run.yaml"
    run.write_text(
        f"data: {{name: mercaption, args: {{train: {shards}, batch_size: 2, task: labels, num_workers: 0}}}}\n"
        f"trainer: {{max_steps: 2, accelerator: cpu, logger: false, enable_progress_bar: false, "
        f"enable_model_summary: false, default_root_dir: {tmp_path}/run}}\n"
        "model: {optim: {train_only: [poolings, prefusion, projectors]}, modality_dropout: {modality: 0.5}}\n"
    )
    start = ["fit", "--config", str(run), "--start", str(tmp_path / "base.ckpt")]
    assert main([*start, "--dry-run"]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines() if " trained " in line and " frozen" in line]
    trains = {line[0] for line in told if line[1] != "0" and line[0] != "weights:"}
    assert trains == {f"{part}.{name}" for part in ("poolings", "projectors") for name in base.specs} | {
        "prefusion",
        "projectors.multi",
    }
    assert main(start) == 0
    (written,) = (tmp_path / "run/checkpoints").glob("*.ckpt")
    stored = torch.load(written, weights_only=True)["state_dict"]
    assert any("lora_" in name for name in stored)
    assert not any("lora_" not in name for name in stored if name.startswith("llm.")), "the LLM is read from its folder"
    before, after = base.state_dict(), AffectGPT.from_checkpoint(written).state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"poolings", "prefusion", "projectors"}


def test_what_is_frozen_as_a_whole_drops_nothing_out(tmp_path: Path) -> None:
    model = AffectGPT.from_config(config(tmp_path, train_only=FUSION)).train()
    assert model.llm.frozen
    assert model.encoder("frame").frozen
    assert not any(module.training for module in model.llm.modules())
    assert model.network.prefusion.training
    assert not model.network.prefusion.frozen
    part = AffectGPT.from_config(config(tmp_path, train_only=["projectors.multi"]))
    trained = [name for name, weight in part.named_parameters() if weight.requires_grad]
    assert trained
    assert all(name.startswith("projectors.multi") for name in trained)


def test_a_name_that_nothing_trainable_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"begins with 'fusion'\. Did you mean 'prefusion'"):
        AffectGPT.from_config(config(tmp_path, train_only=["fusion"]))
    with pytest.raises(ConfigError, match=r"begins with 'encoders\.audio'"):
        AffectGPT.from_config(config(tmp_path, train_only=["encoders.audio"]))
