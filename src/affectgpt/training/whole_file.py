"""Writes checkpoints so that a killed run never leaves half of one under the name of a whole one."""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from affectgpt.errors import CheckpointError, first_few
from affectgpt.files import draft


class WholeFileIO(TorchCheckpointIO):
    """Writes into a temporary file of the same folder, on disk before it takes the checkpoint's name.

    Lightning writes into the system's temporary folder and moves the file: between two file systems that is a copy, and
    a run that is killed in the middle of it leaves a cut ``last.ckpt``. What a killed run had begun to write is removed
    when the same checkpoint is written next. Use it as a plugin of the trainer; ``affectgpt fit`` does. Places that are
    not local folders are left to Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What to write.
            path: File to write or replace.
            storage_options: Not used, as in Lightning's own.

        Raises:
            CheckpointError: If it cannot be written, or has a weight that is NaN; what had that name before is still
                there.
        """
        lost = [name for name, value in checkpoint.get("state_dict", {}).items() if _has_nan(value)]
        if lost:
            raise CheckpointError(
                f"{str(path)!r} is not written: {len(lost)} weights are NaN ({first_few(lost, 3)}); earlier "
                "checkpoints are as they were: go on from one of them, with a lower optim.lr"
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
            # of a full disk torch says "unexpected pos"; the system's own words are the context of that
            reason = error if isinstance(error, OSError) else error.__context__
            if not isinstance(reason, OSError):
                raise
            raise CheckpointError(
                f"{str(path)!r} cannot be written ({reason.strerror}); earlier checkpoints are as they were: free some "
                "space, or make the folder one that can be written, and go on from the last of them"
            ) from error


def _has_nan(value: Any) -> bool:
    # infinity may be meant, as in a stored mask; NaN never is
    return isinstance(value, torch.Tensor) and value.is_floating_point() and bool(value.isnan().any())
