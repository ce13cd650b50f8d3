"""Writes ``last.ckpt`` whenever a checkpoint was due, even if the monitored figure did not improve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from affectgpt.lightning_privates import save_last_checkpoint, saved_at_this_step, steps_between_checkpoints


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` for every ``ModelCheckpoint(save_last=True)`` that did not.

    Lightning 2.6 writes ``last.ckpt`` only beside a new best checkpoint. If the monitored figure no longer improves,
    the file silently falls behind, and a run resumed from it loses what was learnt since. This callback must come after
    the checkpoint callbacks: append it to ``trainer.callbacks``, as ``affectgpt fit`` does. It is a ``Checkpoint``
    itself, because Lightning calls these after all other callbacks at the end of an epoch.
    """

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write if a checkpoint was due after this number of steps."""
        for saver in _watching(trainer):
            every = steps_between_checkpoints(saver)
            if every and trainer.global_step and trainer.global_step % every == 0:
                _save(saver, trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write if a checkpoint was due after this number of epochs."""
        for saver in _watching(trainer):
            if saver.every_n_epochs and (trainer.current_epoch + 1) % saver.every_n_epochs == 0:
                _save(saver, trainer)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Write if SIGTERM stops the run, unless another callback has saved."""
        if not isinstance(exception, SIGTERMException) or trainer.fast_dev_run or trainer.sanity_checking:  # type: ignore[attr-defined]
            return
        savers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        if savers and not any(saved_at_this_step(saver, trainer) for saver in savers):
            saver = next((saver for saver in savers if saver.save_last is True), savers[0])
            if saver.save_last is True:
                save_last_checkpoint(saver, trainer)
            else:
                trainer.save_checkpoint(Path(saver.dirpath or trainer.default_root_dir, "last.ckpt"))


def _save(saver: ModelCheckpoint, trainer: lightning.Trainer) -> None:
    if not saved_at_this_step(saver, trainer):
        save_last_checkpoint(saver, trainer)


def _watching(trainer: lightning.Trainer) -> list[ModelCheckpoint]:
    """The callbacks that keep a last checkpoint and may skip one that is due."""
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return []
    found = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    return [saver for saver in found if saver.save_last is True and saver.monitor is not None]
