"""Two ranks that share one model (FSDP2) learn from features what they learn from media."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.features import EncoderSet, encode
from affectgpt.shards import pack
from clipmaker import make_clip
from conftest import write_manifest
from processes import in_processes
from quiettrainer import quiet_trainer

WORLD = 2


class Losses(lightning.Callback):
    """The loss of every step, over all ranks."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def train(config: dict[str, Any], folder: Path, features: Path | None) -> list[float]:
    lightning.seed_everything(7, verbose=False)
    model = AffectGPT.from_config({**config, "features": None if features is None else str(features)})
    data = MERCaptionDataModule(
        str(folder), val=str(folder), media=model.media.to_json(), style="brief", task="labels", batch_size=1,
        num_workers=0,
    )  # fmt: skip
    losses = Losses()
    strategy = ModelParallelStrategy(WORLD, 1, save_distributed_checkpoint=False, process_group_backend="gloo")
    trainer = quiet_trainer(devices=WORLD, strategy=strategy, max_epochs=1, num_sanity_val_steps=0, callbacks=[losses])
    trainer.fit(model, data)
    assert any(hasattr(parameter, "placements") for parameter in model.parameters())
    return [*losses.values, float(trainer.callback_metrics["val/loss"])]


def work(config: dict[str, Any], clips: Path, features: Path, out: Path) -> None:
    torch.set_num_threads(1)
    runs = {
        "media": train(config, clips, None),
        "stand-ins": train(config, features, features),
        "encoders": train(config, features, None),
    }
    if os.environ["LOCAL_RANK"] == "0":
        out.write_text(json.dumps(runs))


@pytest.mark.timeout(240)
def test_sharded_ranks_learn_the_same_from_features(config, tmp_path):
    lines: list[dict[str, object] | str] = []
    for number in range(8):  # in most steps one rank has sound and the other has none
        (tmp_path / f"clip{number}.mp4").write_bytes(make_clip(0.4, shade=25 * number, audio=number % 3 == 0))
        lines.append(
            {"name": f"clip{number}", "video": f"clip{number}.mp4", "labels": ["happy", "sad"][: number % 2 + 1]}
        )
    pack(write_manifest(tmp_path, lines), tmp_path / "shards", samples_per_shard=4)
    encode(EncoderSet.from_config(config), tmp_path / "shards", tmp_path / "features", dtype="float32")
    args = (config, tmp_path / "shards", tmp_path / "features", tmp_path / "losses.json")
    assert in_processes(work, *args, world=WORLD) == [0] * WORLD
    runs = json.loads((tmp_path / "losses.json").read_text())
    assert len(runs["media"]) == 5
    assert runs["stand-ins"] == pytest.approx(runs["media"], rel=1e-5)
    assert runs["encoders"] == pytest.approx(runs["media"], rel=1e-5)
