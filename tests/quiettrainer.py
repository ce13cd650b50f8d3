"""A trainer that prints nothing and writes no files, and checkpoints as it writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def quiet_trainer(**options: Any) -> lightning.Trainer:
    """A trainer on the CPU; ``options`` are those of ``lightning.Trainer``, and go before the quiet ones."""
    return lightning.Trainer(**{**QUIET, **options})


def save_as_trained(model: lightning.LightningModule, path: Path) -> Path:
    """Write the checkpoint that a training of no steps would leave."""
    trainer = quiet_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path
