"""What ``affectgpt fit`` adds to a trainer so that a run loses nothing silently."""

from __future__ import annotations

import logging

import lightning
from lightning.fabric.plugins import TorchCheckpointIO

from affectgpt.training.finite import FiniteGuard
from affectgpt.training.last_checkpoint import LastCheckpoint
from affectgpt.training.random_states import RandomStates
from affectgpt.training.rank_watch import RankWatch
from affectgpt.training.resume_report import ResumeReport
from affectgpt.training.run_folder import RunFolder
from affectgpt.training.stop_signals import StopTogether
from affectgpt.training.whole_file import WholeFileIO

log = logging.getLogger(__name__)


def add_safeguards(
    trainer: lightning.Trainer,
    stop: StopTogether,
    folder: RunFolder,
    report: ResumeReport,
    watch: RankWatch,
    seed: int | None = None,
) -> None:
    """Add the safeguards that the configuration does not name; those that it names stay as they are.

    Checkpoints are written whole or not at all, into a folder reserved for this run; ``last.ckpt`` is kept up to date;
    steps that are not finite are skipped; SIGTERM ends the run with a checkpoint. A checkpoint holds the random
    generators and the settings of the run, and a resumed run reports what it restores and what has changed.

    Args:
        trainer: The trainer.
        stop: Handles SIGTERM.
        folder: Reserves the folder for this run.
        report: Reports how a run is resumed.
        watch: Detects lost ranks.
        seed: Seed of the run.
    """
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeFileIO()
    if trainer.checkpoint_callbacks:
        callbacks.append(LastCheckpoint())
    callbacks[:0] = [watch, folder, stop, report, RandomStates(seed)]
    if any(isinstance(callback, FiniteGuard) for callback in callbacks):
        return
    if trainer.precision == "16-mixed":
        log.warning(
            "precision 16-mixed: its gradient scaler silently skips steps that are not finite, so they are neither "
            "counted nor limited; with bf16-mixed, which has no scaler, FiniteGuard counts them"
        )
        return
    callbacks.insert(0, FiniteGuard())
