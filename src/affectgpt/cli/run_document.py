"""The JSON document of ``fit``, ``validate``, ``test`` and ``predict`` on shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from affectgpt.cli.answers_file import PredictionFile


def run_document(verb: str, trainer: Trainer, plan: Sequence[str]) -> dict[str, Any]:
    """What a run came to, as plain JSON.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        trainer: The trainer after the run.
        plan: The lines of ``fit --dry-run``, which trains nothing; empty for a run.
    """
    if plan:
        return {"plan": list(plan)}
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    if verb == "predict":
        (answers,) = (one for one in callbacks if isinstance(one, PredictionFile))
        return {"predictions": str(answers.written), "answers": answers.num_written}
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if verb != "fit":
        return {"checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path), "figures": figures}
    return {
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "checkpoints": written_checkpoints(trainer),
        "figures": figures,
    }


def written_checkpoints(trainer: Trainer) -> list[str]:
    """The best and the last checkpoint of each callback that wrote one."""
    savers = [saver for saver in trainer.checkpoint_callbacks if isinstance(saver, ModelCheckpoint)]
    written = [path for saver in savers for path in (saver.best_model_path, saver.last_model_path) if path]
    return list(dict.fromkeys(written))
