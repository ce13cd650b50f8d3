"""Writes checkpoints so that a killed run never leaves a partial file under a checkpoint's name."""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from affectgpt.checkpoints.shard_folder import is_shard_folder
from affectgpt.errors import CheckpointError, first_few
from affectgpt.files import draft


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in the same folder, syncs it to disk, and then renames it.

    Lightning writes into the system's temporary folder and moves the file: between two file systems that is a copy, and
    a run killed in the middle of it leaves a truncated ``last.ckpt``. A temporary file of a killed run is removed when
    the same checkpoint is written next. Use it as a plugin of the trainer, as ``affectgpt fit`` does. URLs that are not
    local paths are left to Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What to write.
            path: File to write or replace.
            storage_options: Not used, as in Lightning's own plugin.

        Raises:
            CheckpointError: If the checkpoint cannot be written or has a weight that is NaN; an earlier file of that
                name is kept.
        """
        lost = [name for name, value in checkpoint.get("state_dict", {}).items() if _has_nan(value)]
        if lost:
            raise CheckpointError(
                f"{str(path)!r} is not written: {len(lost)} weights are NaN ({first_few(lost, 3)}). Earlier "
                "checkpoints are unchanged; resume from one of them, with a lower optim.lr"
            )
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        try:
            for left in path.parent.glob(f".{escape(path.name)}-*"):
                left.unlink(missing_ok=True)
            with draft(path) as beside, beside.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            # on a full disk torch raises "unexpected pos"; the system's own error is its context
            reason = error if isinstance(error, OSError) else error.__context__
            if not isinstance(reason, OSError):
                raise
            raise CheckpointError(
                f"{str(path)!r} cannot be written ({reason.strerror}). Earlier checkpoints are unchanged; free some "
                "space or make the folder writable, then resume from the last of them"
            ) from error

    def load_checkpoint(self, path: _PATH, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is a folder of shards, which only ranks that share the model go on from.
        """
        if "://" not in str(path) and is_shard_folder(path):
            raise CheckpointError(
                f"{str(path)!r} is a checkpoint in shards: go on from it with trainer.strategy=fsdp2, on any number of "
                "ranks; or begin from its weights alone with --start"
            )
        found: dict[str, Any] = super().load_checkpoint(path, *args, **options)
        return found


def _has_nan(value: Any) -> bool:
    # infinity may be intended, as in a stored mask; NaN never is
    return isinstance(value, torch.Tensor) and value.is_floating_point() and bool(value.isnan().any())
