"""What ``affectgpt fit`` adds to a trainer so that a run can be watched."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import lightning
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from affectgpt.errors import ConfigError
from affectgpt.training.meters import RunMeters
from affectgpt.training.run_settings import settings_of
from affectgpt.training.start_report import StartReport
from affectgpt.training.table_logger import TableLogger


def check_loggers(logger: Any) -> None:
    """Check that what the loggers of a configuration need is installed; Lightning's own message names no extra.

    Args:
        logger: The configuration's ``trainer.logger``.

    Raises:
        ConfigError: If wandb is needed and not installed.
    """
    for one in logger if isinstance(logger, list) else [logger]:
        name = str(one.get("class_path", "")) if hasattr(one, "get") else ""
        if name.endswith("WandbLogger") and find_spec("wandb") is None:
            raise ConfigError("WandbLogger needs wandb, which is not installed: pip install 'affectgpt[wandb]'")


class LoggedSettings(lightning.Callback):
    """Gives wandb and trackio the settings of the run, by which they compare runs."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log them before the first figure."""
        settings = settings_of(pl_module, trainer.datamodule, {})  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            if hasattr(logger, "log_text"):  # wandb, trackio
                logger.log_hyperparams({"model": settings["model"], "data": settings["data"].get("args", {})})


def add_watching(trainer: lightning.Trainer, logger: Any, tell: Callable[[str], None]) -> None:
    """Add a report at the start, figures of speed and gradients, and a table of all figures.

    The table, ``metrics.csv``, is written whatever other loggers there are, so that ``affectgpt runs`` can compare any
    two runs; ``trainer.logger: false`` turns all of it off.

    Args:
        trainer: The trainer.
        logger: The configuration's ``trainer.logger``.
        tell: Takes the lines of the report.
    """
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.append(StartReport(tell))
    if logger is False or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    callbacks.append(LoggedSettings())
    if not any(isinstance(one, RunMeters) for one in callbacks):
        callbacks.insert(0, RunMeters())
    if any(isinstance(one, CSVLogger) for one in trainer.loggers):
        return
    first = next((one for one in trainer.loggers if isinstance(one, TensorBoardLogger)), None)
    if first is not None:
        beside = TableLogger(first.save_dir, name=first.name, version=first.version)
    else:
        beside = TableLogger(trainer.default_root_dir)
    warnings.filterwarnings("ignore", message="Experiment logs directory")  # the first logger made it just now
    # first: Lightning keeps configuration and examples in the folder of the first logger. That of wandb and trackio is
    # one for all runs, which would write over each other's
    trainer.loggers = [beside, *trainer.loggers]
