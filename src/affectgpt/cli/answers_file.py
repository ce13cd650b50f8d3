"""Writes the answers of a run over shards to a file, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from affectgpt.cli.terminal import say
from affectgpt.files import write_lines
from affectgpt.prompts.preference import preference_wording
from affectgpt.training.step_loss import DataRanks
from affectgpt.types import Prediction


class PredictionFile(Callback):
    """Collects predictions and writes them when the run ends, one file per rank.

    Args:
        path: File to write; by default ``predictions.jsonl`` in the trainer's folder.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self._lines: list[str] = []
        self._are_preferences = False
        self.written: Path | None = None
        self.num_written = 0

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Sequence[Prediction],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the answers of one batch."""
        self._are_preferences = preference_wording(pl_module.style).asks(batch.questions[0])
        self._lines += [json.dumps(prediction.to_json(), ensure_ascii=False) for prediction in outputs]

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        path = Path(self.path or Path(trainer.default_root_dir, "predictions.jsonl"))
        ranks = DataRanks.of(pl_module)
        reader, peer = divmod(trainer.global_rank, ranks.peers)
        if peer:  # the first of those that hold the model together has written the same
            return
        if ranks.number > 1:
            path = path.with_name(f"{path.stem}.rank{reader}{path.suffix}")
        write_lines(path, self._lines)
        self.written, self.num_written = path, len(self._lines)
        say(f"wrote {len(self._lines)} answers to {path}")
        what = f"preference {path} PAIRS.csv" if self._are_preferences else f"SET {path} GOLD.csv"
        say(f"next: affectgpt score {what}")
        self._lines = []
