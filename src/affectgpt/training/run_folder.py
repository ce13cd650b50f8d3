"""Reserves a folder of checkpoints for one run at a time, and for one configuration."""

from __future__ import annotations

import errno
import inspect
import json
import logging
import os
import shutil
import socket
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lightning
from filelock import FileLock, Timeout
from lightning.pytorch.callbacks import ModelCheckpoint

from affectgpt import __version__
from affectgpt.checkpoints.io import SAME_MATHS, load_checkpoint
from affectgpt.checkpoints.shard_folder import is_shard_folder, read_facts
from affectgpt.checkpoints.shard_writer import saving_names
from affectgpt.errors import AffectGPTError, CheckpointError, ConfigError
from affectgpt.files import new_file_mode, write_whole
from affectgpt.training.run_settings import Change, changed_settings, settings_of

log = logging.getLogger(__name__)

RECORD = "run.json"
LOCK = ".run.lock"
LOCK_SECONDS = 10.0
"""Seconds to wait for the lock of a run that is gone: after a kill its workers hold it for some seconds more."""

LEASE_SECONDS = 100.0
"""Seconds to wait for the lock of a run on another machine: a file server keeps that of one that crashed for 90 s."""

DRAFTS = ".*.ckpt-????????"
"""Names of checkpoints in one file while they are written, see ``affectgpt.files.draft``."""

MAX_CHANGES = 6


class RunFolder(lightning.Callback):
    """Records which run writes into a folder of checkpoints, and refuses another one.

    The settings of the run are written to ``run.json`` when it starts. A run with other settings is refused if the
    folder already has checkpoints, unless it resumes from one of them; so an experiment never replaces a trained model.
    During a run its folder is locked, and a second run that would write the same files is refused. Use it as a context
    manager, which releases the locks.

    Args:
        config: The configuration of the command line.
        overwrite: Whether checkpoints of another configuration may be replaced.

    Raises:
        ConfigError: When training starts, if another run is writing into the folder, or a run with another
            configuration left checkpoints there.
    """

    def __init__(self, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.config = config
        self.overwrite = overwrite
        self._locks: list[FileLock] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for lock in self._locks:
            lock.release()
        self._locks = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Claim the folders; if one is refused, all ranks stop together."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        # this class checks the folder; Lightning would warn about run.json
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        settings = settings_of(pl_module, trainer.datamodule, self.config)  # type: ignore[attr-defined]
        savers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        problem: str | None = None
        if trainer.is_global_zero:
            try:
                for folder in dict.fromkeys(checkpoint_folder(saver, trainer) for saver in savers):
                    if "://" not in str(folder):
                        self._claim(folder, settings)
            except AffectGPTError as error:
                problem = str(error)
            except OSError as error:
                problem = (
                    f"checkpoints cannot be written into {error.filename or 'their folder'} ({error.strerror}); set "
                    "trainer.default_root_dir, or dirpath of ModelCheckpoint, to another folder"
                )
        problem = trainer.strategy.broadcast(problem)
        if problem is not None:
            raise ConfigError(problem)

    def _claim(self, folder: Path, settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self._lock(folder):
            _sweep(folder)
        checkpoints = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        goes_on_from = self.config.get("ckpt_path")
        goes_on = goes_on_from in ("last", "best", "hpc") or (
            goes_on_from and Path(goes_on_from).resolve().parent == folder.resolve()
        )
        if checkpoints and not goes_on:
            self._compare(folder, checkpoints[-1], settings)
        record = {
            "format": 1,
            "affectgpt": __version__,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "process": os.getpid(),
            "host": socket.gethostname(),
            "settings": settings,
        }
        write_whole(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def _lock(self, folder: Path) -> bool:
        """Lock a folder; ``False`` if its file system has no locks."""
        lock, record = _lock_of(folder), _read(folder / RECORD)
        seconds = LOCK_SECONDS
        if record is not None:
            elsewhere = record["host"] != socket.gethostname()
            seconds = LEASE_SECONDS if elsewhere else 0 if _is_running(record) else LOCK_SECONDS
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            owner = f" (process {record['process']} on {record['host']}, since {record['started']})" if record else ""
            raise ConfigError(
                f"another run{owner} is writing checkpoints into {folder}: the two would replace each other's files. "
                "Wait for it to end, or give this run a folder of its own: trainer.default_root_dir, or dirpath of "
                "ModelCheckpoint"
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            log.warning(
                "the file system of %s has no locks: a second run that writes there would not be noticed", folder
            )
            return False
        self._locks.append(lock)
        return True

    def _compare(self, folder: Path, newest: Path, settings: Mapping[str, Any]) -> None:
        changes = _changes_since(folder, newest, settings)
        if changes and not self.overwrite:
            more = f"; and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
            raise ConfigError(
                f"{folder} holds {newest.name} of a run with another configuration, which this run would replace; "
                f"{'; '.join(map(str, changes[:MAX_CHANGES]))}{more}. Give this run a folder of its own "
                "(trainer.default_root_dir, or dirpath of ModelCheckpoint), resume the other run (--ckpt_path "
                f"{newest}), or replace it with --overwrite"
            )
        log.warning(
            "%s already holds %s: this run starts anew and may replace it; to resume from it, give --ckpt_path %s",
            *(folder, newest.name, newest),
        )


def checkpoint_folder(saver: ModelCheckpoint, trainer: lightning.Trainer) -> Path:
    """The folder that a callback will write to; Lightning decides it only after the first hooks have run."""
    if saver.dirpath is not None:
        return Path(saver.dirpath)
    if not trainer.loggers:
        return Path(trainer.default_root_dir, "checkpoints")
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir, str(logger.name), version, "checkpoints")


def _lock_of(folder: Path) -> FileLock:
    """The lock, of the system alone: what newer filelocks put in its place where there is none outlives a kill."""
    takes = inspect.signature(FileLock.__init__).parameters
    system: dict[str, Any] = {"fallback_to_soft": False} if "fallback_to_soft" in takes else {}
    return FileLock(folder / LOCK, mode=new_file_mode(), **system)


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed had begun to write; it may be as large as a checkpoint."""
    for left in folder.glob(saving_names()):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(DRAFTS):
        if left.is_file():
            left.unlink(missing_ok=True)


def _changes_since(folder: Path, newest: Path, settings: Mapping[str, Any]) -> list[Change]:
    """The changes since the run that wrote the folder; without its ``run.json``, since its checkpoint's model."""
    record = _read(folder / RECORD)
    if record is not None:
        return changed_settings(record["settings"], settings)
    try:
        if is_shard_folder(newest):
            theirs = read_facts(newest)["hyper_parameters"]
        else:
            theirs = load_checkpoint(newest, allow_import=True)["hyper_parameters"]  # compared, not built
    except (CheckpointError, KeyError):
        return [Change("the checkpoint", "not one of ours", "one of ours")]
    ours = settings["model"]
    return changed_settings(
        {"model": {name: theirs.get(name) for name in SAME_MATHS}},
        {"model": {name: ours.get(name) for name in SAME_MATHS}},
    )


def _read(path: Path) -> dict[str, Any] | None:
    """The record of a run; ``None`` if it is missing or cannot be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("settings"), dict)
    return record if whole and {"process", "host", "started"} <= record.keys() else None


def _is_running(record: dict[str, Any]) -> bool:
    """Whether the process that wrote a record is another one that still runs on this machine."""
    process = int(record["process"])
    if record["host"] != socket.gethostname() or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = Path(f"/proc/{process}/stat")  # a zombie, which its parent has not waited for, still accepts signals
    return not state.exists() or state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
