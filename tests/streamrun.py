"""Trains a small model through a real Trainer, and writes down what it was given to learn."""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from affectgpt.datamodules import MERCaptionDataModule

MEDIA = {"num_frames": 1, "frame_height": 8, "frame_width": 8, "num_segments": 1, "segment_seconds": 0.1}


class Reader(lightning.LightningModule):
    """Writes down what it was given to learn; ``looks_ahead`` reads what makes Lightning set its loaders up early."""

    def __init__(self, looks_ahead=False):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.looks_ahead = looks_ahead
        self.seen = []
        self.validated = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch.keys, batch.questions))
        return self.layer(batch.media["frame"].float().mean((1, 2, 3, 4))[:, None] / 255).square().mean()

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch.keys)

    def configure_optimizers(self):
        if self.looks_ahead:
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), 0.01)


class SaveEverywhere(Callback):
    """Saves after every batch and every validation, and notes how much had been seen by then."""

    def __init__(self, folder):
        self.folder = folder
        self.saved = []

    def _save(self, trainer, pl_module, where):
        if not trainer.sanity_checking:
            path = self.folder / f"{len(self.saved)}-{where}.ckpt"
            trainer.save_checkpoint(path)
            self.saved.append((path, len(pl_module.seen)))

    def on_train_batch_end(self, trainer, pl_module, *args):
        self._save(trainer, pl_module, "batch")

    def on_validation_end(self, trainer, pl_module):
        self._save(trainer, pl_module, "validation")

    def on_train_epoch_end(self, trainer, pl_module):
        self._save(trainer, pl_module, "epoch")


def fit(train, ckpt=None, callbacks=(), looks_ahead=False, batch_size=2, num_workers=0, val=None, data=None, **options):
    model = Reader(looks_ahead)
    args = {"drop_last": False, **(data or {})}
    datamodule = MERCaptionDataModule(
        train=train, val=val, batch_size=batch_size, num_workers=num_workers, media=MEDIA, **args
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, datamodule, ckpt_path=ckpt)
    return model.seen
