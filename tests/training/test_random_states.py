"""A resumed run with dropout ends with the weights of one that was never stopped, bit for bit."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import CheckpointError
from affectgpt.training.random_states import RandomStates, draw_states
from quiettrainer import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = {
    "streams": {
        "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}},
        "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}},
    },
    "llm": {"name": "tiny", "args": {"dim": 16, "lora": {"rank": 2, "dropout": 0.3}, "trainable": False}},
    "prefusion": "none",
    "style": "brief",
    "media": {"num_frames": 1, "frame_height": 16, "frame_width": 16, "num_segments": 1, "segment_seconds": 0.1},
    "max_new_tokens": 1,
    "slot_dropout": 0.4,
    "modality_dropout": {"modality": 0.5, "segment": 0.5, "step": 0.3},
    "optim": {"lr": 3e-3, "warmup_steps": 0},
}


class SaveEverywhere(Callback):
    """Saves where checkpoints are written: after a batch, after a validation, after an epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: list[Path] = []

    def _save(self, trainer, where: str) -> None:
        if not trainer.sanity_checking:
            self.saved.append(self.folder / f"{len(self.saved)}-{where}.ckpt")
            trainer.save_checkpoint(self.saved[-1])

    def on_train_batch_end(self, trainer, *args) -> None:
        self._save(trainer, "batch")

    def on_validation_end(self, trainer, *args) -> None:
        self._save(trainer, "validation")

    def on_train_epoch_end(self, trainer, *args) -> None:
        self._save(trainer, "epoch")


def fit(shards: Path, *callbacks: Callback, ckpt: Path | None = None, seed: int = 3) -> dict[str, torch.Tensor]:
    lightning.seed_everything(seed, verbose=False)
    model = AffectGPT.from_config(CONFIG)
    data = MERCaptionDataModule(
        train=str(shards), val=str(shards), media=model.media.to_json(), style="brief", batch_size=3, num_workers=0
    )
    trainer = quiet_trainer(
        num_sanity_val_steps=0, max_epochs=2, val_check_interval=2, limit_val_batches=1,
        callbacks=[RandomStates(seed), *callbacks],
    )  # fmt: skip
    trainer.fit(model, data, ckpt_path=ckpt)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_a_resumed_run_with_dropout_equals_one_that_was_never_stopped(shards: Path, tmp_path: Path):
    saver = SaveEverywhere(tmp_path)
    whole = fit(shards, saver)
    assert len(saver.saved) == 10
    for path in saver.saved:
        torch.manual_seed(0)
        resumed = fit(shards, ckpt=path)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole), path.name


def test_another_seed_draws_anew_and_says_so(shards: Path, tmp_path: Path, caplog):
    saver = SaveEverywhere(tmp_path)
    fit(shards, saver)
    fit(shards, ckpt=saver.saved[0], seed=4)
    assert "written with another seed" in caplog.text


def test_states_of_other_ranks_are_not_taken(caplog):
    states = RandomStates(1)
    states.load_state_dict({"seed": 1, "ranks": [draw_states(), draw_states()]})
    assert "generators of 2 ranks, but this run has 1 of them" in caplog.text
    assert states._pending is None


@pytest.mark.parametrize(
    "stored",
    [None, [], {}, {"seed": 1}, {"ranks": []}, {"seed": 1, "ranks": "x"}, {"seed": 1, "ranks": [None]},
     {"seed": 1, "ranks": [{"python": 3}]}, {"seed": 1, "ranks": [{**draw_states(), "torch": torch.zeros(3)}]}],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_states_that_are_none_are_a_broken_checkpoint(stored) -> None:
    before = torch.get_rng_state()
    if stored == {"seed": 1, "ranks": [None]}:
        put_back(stored)  # a rank that wrote none
        return
    with pytest.raises(CheckpointError, match="states of random generators"):
        put_back(stored)
    torch.set_rng_state(before)


def put_back(stored) -> None:
    states = RandomStates(seed=1)
    states.load_state_dict(stored)
    states.on_train_batch_start(None, None, None, 0)
