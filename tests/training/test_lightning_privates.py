"""Fails when Lightning changes what ``affectgpt.lightning_privates`` reaches into."""

from __future__ import annotations

import inspect

import lightning
import lightning.pytorch.demos.boring_classes
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from affectgpt.lightning_privates import (
    WRITTEN_FOR,
    batches_begun,
    batches_in,
    count_epoch_as_begun,
    epochs_in,
    leave_signals_to_callback,
    move_batches,
    save_last_checkpoint,
    saved_at_this_step,
    steps_between_checkpoints,
    tell_to_stop,
    writes_shards,
)
from quiettrainer import quiet_trainer


def test_it_is_the_release_that_was_read():
    assert lightning.__version__.startswith(f"{WRITTEN_FOR}.")


def test_a_checkpoint_callback_says_when_it_saves_and_saves_its_last(tmp_path):
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.strategy.connect(lightning.LightningModule())
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=7, save_last=True)
    assert steps_between_checkpoints(saver) == 7
    assert steps_between_checkpoints(ModelCheckpoint(tmp_path, every_n_epochs=2)) == 0
    saved = []
    trainer.save_checkpoint = lambda path, *rest: saved.append(path)
    saver._last_global_step_saved = -1
    assert not saved_at_this_step(saver, trainer)
    save_last_checkpoint(saver, trainer)
    assert saved == [str(tmp_path / "last.ckpt")]
    assert saved_at_this_step(saver, trainer)


def test_a_strategy_says_whether_it_writes_shards():
    assert writes_shards(ModelParallelStrategy(save_distributed_checkpoint=True))
    assert not writes_shards(ModelParallelStrategy(save_distributed_checkpoint=False))
    assert not writes_shards(DDPStrategy())


def test_a_trainer_that_was_told_to_stop_knows_it():
    trainer = lightning.Trainer(accelerator="cpu", logger=False, barebones=True)
    assert not trainer.received_sigterm
    tell_to_stop(trainer)
    assert trainer.received_sigterm


def test_between_batches_the_trainer_asks_no_other_rank_whether_to_stop():
    trainer = lightning.Trainer(accelerator="cpu", logger=False, barebones=True)
    loop = trainer.fit_loop.epoch_loop
    assert inspect.signature(type(loop)._broadcast_sigterm_tensor).parameters.keys() == {"self"}
    assert "_broadcast_sigterm_tensor()" in inspect.getsource(type(loop).advance)
    leave_signals_to_callback(trainer)
    assert loop._broadcast_sigterm_tensor() is None


class Counting(lightning.pytorch.demos.boring_classes.BoringModel):
    """Notes the counts while it is trained."""

    def training_step(self, batch, batch_idx):
        self.begun = [*getattr(self, "begun", []), batches_begun(self.trainer)]
        return super().training_step(batch, batch_idx)


def test_the_counts_of_the_loops_are_where_they_were(tmp_path):
    model = Counting()
    trainer = quiet_trainer(max_epochs=2, limit_train_batches=3, limit_val_batches=0)
    trainer.fit(model)
    assert model.begun == [1, 2, 3, 1, 2, 3]
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    checkpoint = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert batches_in(checkpoint)["current"] == dict.fromkeys(("ready", "started", "processed", "completed"), 3)
    assert epochs_in(checkpoint) == dict.fromkeys(("ready", "started", "processed", "completed"), 2)
    move_batches(checkpoint, -2, is_last=False)
    assert batches_in(checkpoint)["current"]["completed"] == 1
    assert batches_in(checkpoint)["is_last_batch"] is False
    count_epoch_as_begun(trainer)
    assert vars(trainer.fit_loop.epoch_progress.current) == {"ready": 3, "started": 3, "processed": 2, "completed": 2}
