"""What callbacks watch is 0 where nothing is right, and a run that learns slowly goes on to its end."""

from __future__ import annotations

import math
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import ConfigError
from affectgpt.model.scores import StageScores
from affectgpt.training.last_checkpoint import LastCheckpoint
from affectgpt.types import Prediction
from tinytrain import SMALL

pytestmark = pytest.mark.filterwarnings("ignore")


def score(answers: list[list[str]], labels: list[list[str]]) -> dict[str, float]:
    scores, cpu = StageScores(), torch.device("cpu")
    scores.add("val", [Prediction(str(i), "", tuple(words)) for i, words in enumerate(answers)], labels, cpu)
    return {name: float(value) for name, value in scores.take("val", cpu).items()}


def test_nothing_right_is_zero_and_nothing_scored_is_not_a_number():
    assert score([["sad"]], [["happy"]]) == {
        **dict.fromkeys(("f1", "precision", "recall", "hit_rate"), 0.0),
        "coverage": 1.0,
    }
    assert score([[]], [["happy"]])["f1"] == 0.0
    right = score([["happy"]], [["happy"]])
    assert right["f1"] == right["precision"] == right["recall"] == 1.0
    assert math.isnan(score([["happy"]], [["xyzzy"]])["f1"])


def test_a_stage_without_true_labels_logs_nothing():
    scores = StageScores()
    assert scores.take("val", torch.device("cpu")) == {}


def test_a_run_in_which_nothing_is_right_yet_makes_all_its_epochs(shards: Path, tmp_path: Path):
    lightning.seed_everything(1)
    media = {"num_frames": 1, "frame_height": 16, "frame_width": 16, "num_segments": 1, "segment_seconds": 0.1}
    model = AffectGPT.from_config(
        {
            "streams": {"frame": {"encoder": "tiny-vision"}},
            "llm": {"name": "tiny", "args": {"dim": 16}},
            "prefusion": "none",
            "style": "brief",
            "media": media,
            "max_new_tokens": 2,
            "optim": {"lr": 1e-9, "warmup_steps": 0},
        }
    )
    data = MERCaptionDataModule(
        train=str(shards), val=str(shards), media=model.media.to_json(), style="brief", batch_size=5, num_workers=0
    )
    saver = ModelCheckpoint(tmp_path, monitor="val/f1", mode="max", save_last=True)
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=3,
        num_sanity_val_steps=0, limit_train_batches=1, limit_val_batches=1,
        callbacks=[EarlyStopping("val/f1", mode="max", patience=2, check_finite=True), saver],
    )  # fmt: skip
    trainer.callbacks.append(LastCheckpoint())
    trainer.fit(model, data)
    assert trainer.callback_metrics["val/f1"] == 0.0
    assert trainer.current_epoch == 3
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 2, "the last, not the best"
    assert len(list(tmp_path.glob("*.ckpt"))) == 2


def test_a_fixed_slice_of_the_validation_is_answered_and_all_of_it_has_a_loss(shards: Path, tmp_path: Path):
    model = AffectGPT.from_config({**SMALL, "answered_val_batches": 2})
    data = MERCaptionDataModule(
        val=str(shards), media=model.media.to_json(), style="brief", batch_size=2, num_workers=0, task="labels"
    )
    answered, losses = [], []
    forward = model.forward

    def noted(batch, max_new_tokens=None, *args):
        (losses if max_new_tokens is None else answered).extend(batch.keys)
        return forward(batch, max_new_tokens, *args)

    model.forward = noted
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    for _ in range(2):
        trainer.validate(model, data, verbose=False)
    assert answered == 2 * [f"clip{i}" for i in range(4)]
    assert losses == 2 * [f"clip{i}" for i in range(10)]
    assert {"val/loss", "val/f1"} <= trainer.callback_metrics.keys()
    assert "answered_val_batches" not in model.hparams
    with pytest.raises(ConfigError, match="answered_val_batches=-1"):
        AffectGPT.from_config({**SMALL, "answered_val_batches": -1})
