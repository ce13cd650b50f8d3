"""Lets SIGTERM end training after the current batch, at the same step on all ranks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning
import torch

from affectgpt.lightning_privates import tell_to_stop


class StopTogether(lightning.Callback):
    """Makes all ranks stop at the same step after SIGTERM; ``affectgpt fit`` uses it.

    Lightning's own handler starts a collective inside the signal handler, possibly in the middle of another collective,
    and each rank stops when its own signal arrives: ranks that got the signal at different moments wait for each other
    forever. Here the handler only sets a flag. The ranks exchange their flags after every batch, over a process group
    on the CPU, so that no device has to be waited for. A second signal does not interrupt what follows, such as writing
    a checkpoint.

    Attributes:
        told: Whether this process was told to stop.
    """

    def __init__(self) -> None:
        self.told = False
        self._trainer: lightning.Trainer | None = None
        self._group: Any = None

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._listen(trainer)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._listen(trainer)
        if trainer.world_size > 1:
            self._group = torch.distributed.new_group(backend="gloo")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Exchange the flag with the other ranks."""
        told = self.told
        if self._group is not None:
            note = torch.tensor([int(told)])
            torch.distributed.all_reduce(note, torch.distributed.ReduceOp.MAX, group=self._group)
            told = bool(note)
        if told:
            tell_to_stop(trainer)

    def _listen(self, trainer: lightning.Trainer) -> None:
        self._trainer = trainer
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if self._trainer is not None and self._trainer.world_size == 1:
            tell_to_stop(self._trainer)  # a single process may also stop in the middle of a validation

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Ignore further SIGTERMs from the first one until the process ends.

        When its trainer ends, Lightning restores the handler that it found; a second signal would then end the process
        before its remaining work is done.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def end_unless_told(number: int, frame: FrameType | None) -> None:
            if not self.told:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        before = signal.signal(signal.SIGTERM, end_unless_told)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN if self.told else before)
