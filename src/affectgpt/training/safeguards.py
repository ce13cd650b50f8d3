"""What ``affectgpt fit`` adds to a trainer so that a run loses nothing in silence."""

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
    """Add what the configuration did not name itself; what it names stands.

    Checkpoints are written whole or not at all, into a folder that is this run's alone, ``last.ckpt`` is the last,
    steps that are not finite are left out, and SIGTERM ends the run with a checkpoint. A checkpoint holds the random
    generators and the settings of the run, and a resumed run tells what it makes of them.

    Args:
        trainer: The trainer.
        stop: What takes note of SIGTERM.
        folder: What keeps the folder to this run.
        report: What tells how a run is resumed.
        watch: What notices that a rank is lost.
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
            "precision 16-mixed: its scaler leaves out steps that are not finite without a word, so they are neither "
            "counted nor bounded; bf16-mixed has no scaler, and FiniteGuard watches it"
        )
        return
    callbacks.insert(0, FiniteGuard())
