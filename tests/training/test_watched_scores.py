"""What callbacks watch is 0 where nothing is right, and a run that learns slowly goes on to its end."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import emotion_wheel_score
from affectgpt.model.scores import LOGGED, StageScores, watched
from affectgpt.training.last_checkpoint import LastCheckpoint
from affectgpt.types import Prediction

pytestmark = pytest.mark.filterwarnings("ignore")


def figures(preds: list[list[str]], target: list[list[str]]) -> dict[str, float]:
    scored = emotion_wheel_score(preds, target, EmotionWheel.builtin())
    return {name: float(value) for name, value in watched(scored).items()}


def test_nothing_right_is_zero_and_nothing_scored_is_not_a_number():
    assert figures([["sad"]], [["happy"]]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "coverage": 1.0}
    assert figures([[]], [["happy"]])["f1"] == 0.0
    right = figures([["happy"]], [["happy"]])
    assert right["f1"] == right["precision"] == right["recall"] == 1.0
    assert torch.isnan(torch.tensor(figures([["happy"]], [["xyzzy"]])["f1"]))


def test_a_single_wheel_without_a_hit_or_a_sample_does_not_hide_the_others():
    one = torch.tensor([1.0, 0.0, float("nan")], dtype=torch.float64)
    made = {f"{name}_wheel{w}": value for name in ("precision", "recall") for w, value in enumerate(one, start=1)}
    made |= {"f1_wheel1": one[0], "f1_wheel2": one[2], "f1_wheel3": one[2], "coverage": one[0]}
    assert {name: float(value) for name, value in watched(made).items()} == dict.fromkeys(LOGGED[:3], 0.5) | {
        "coverage": 1.0
    }


def test_a_stage_without_true_labels_logs_nothing():
    scores = StageScores()
    assert scores.take("val", torch.device("cpu")) == {}
    scores.add("val", [Prediction("a", "sad", ("sad",))], [["happy"]], torch.device("cpu"))
    assert float(scores.take("val", torch.device("cpu"))["f1"]) == 0.0


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
