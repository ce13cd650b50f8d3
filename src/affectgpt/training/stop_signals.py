"""Lets SIGTERM end a training after the batch at hand, on all ranks at the same step."""

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
    """Notes SIGTERM, and has all ranks stop at the same step; ``affectgpt fit`` uses one.

    Lightning's own handler talks to the other ranks from within the signal handler, where they may be in the middle of
    another exchange, and each rank stops when its own signal came: ranks that were told at different moments wait for
    each other for ever. Here the handler only takes a note. The ranks compare notes after every batch, over a group of
    their own on the host, so that no device is waited for. What follows, such as writing a checkpoint, is not disturbed
    by a second signal.

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
        """Compare notes with the other ranks."""
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
            tell_to_stop(self._trainer)  # alone it may stop in the middle of a validation too

    @contextmanager
    def patience(self) -> Iterator[None]:
        """From the first SIGTERM that was noted until the process ends, further ones are ignored.

        Lightning puts the handler back that it found when its trainer ends; a second signal would then end the process
        with what is left to do undone.
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
