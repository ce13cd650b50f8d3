"""A trainer for short trainings inside other programs: it prints nothing and writes no files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning


def plain_trainer(
    steps: int,
    *,
    accelerator: str = "auto",
    callbacks: Sequence[lightning.Callback] = (),
    root: str | Path | None = None,
) -> lightning.Trainer:
    """Make a trainer of one device that clips gradients at a norm of 1.

    Args:
        steps: Optimiser steps, over as many epochs as they take.
        accelerator: See ``lightning.Trainer``.
        callbacks: What runs beside the training.
        root: Folder of whatever callbacks write.
    """
    return lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator=accelerator,
        devices=1,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        default_root_dir=root,
    )
