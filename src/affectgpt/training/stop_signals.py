"""Lets the signals of schedulers end training after the current batch, at the same step on all ranks."""

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

from affectgpt.lightning_privates import leave_signals_to_callback, tell_to_stop

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What schedulers announce the end with: SIGTERM, or what ``--signal`` of SLURM, LSF or Grid Engine names."""


class StopTogether(lightning.Callback):
    """Makes all ranks stop at the same step after one of ``SIGNALS``; ``affectgpt fit`` uses it.

    Lightning's own handlers start collectives inside the signal handler, possibly in the middle of another collective,
    and each rank stops when its own signal arrives: ranks that got the signal at different moments wait for each other
    forever. Between batches Lightning also broadcasts a flag over the device, and waits for it. Here the handler only
    sets a flag. The ranks exchange their flags once a batch, over a process group on the CPU, while the backward pass
    runs: with hundreds of ranks such an exchange takes tens of milliseconds. A second signal does not interrupt what
    follows, such as writing a checkpoint.

    Attributes:
        told: Whether this process was told to stop.
    """

    def __init__(self) -> None:
        self.told = False
        self._trainer: lightning.Trainer | None = None
        self._group: Any = None
        self._note_of_all: torch.Tensor | None = None
        self._exchange: Any = None

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._listen(trainer)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._listen(trainer)
        if trainer.world_size > 1:
            self._group = torch.distributed.new_group(backend="gloo")

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: torch.Tensor
    ) -> None:
        """Begin to exchange the flag with the other ranks."""
        self._begin_exchange()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if a rank was told to."""
        told = self.told
        if self._group is not None:
            self._begin_exchange()  # where a batch has no backward pass of the trainer's
            self._exchange.wait()
            told, self._exchange = bool(self._note_of_all), None
        if told:
            tell_to_stop(trainer)

    def _begin_exchange(self) -> None:
        if self._group is None or self._exchange is not None:
            return
        self._note_of_all = torch.tensor([int(self.told)])
        most = torch.distributed.ReduceOp.MAX
        self._exchange = torch.distributed.all_reduce(self._note_of_all, most, group=self._group, async_op=True)

    def _listen(self, trainer: lightning.Trainer) -> None:
        self._trainer = trainer
        leave_signals_to_callback(trainer)
        if threading.current_thread() is threading.main_thread():
            for one in SIGNALS:
                signal.signal(one, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if self._trainer is not None and self._trainer.world_size == 1:
            tell_to_stop(self._trainer)  # a single process may also stop in the middle of a validation

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Ignore further signals from the first one until the process ends.

        When its trainer ends, Lightning restores the handlers that it found; a second signal would then end the process
        before its remaining work is done.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def end_unless_told(number: int, frame: FrameType | None) -> None:
            if not self.told:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        before = {one: signal.signal(one, end_unless_told) for one in SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, signal.SIG_IGN if self.told else handler)
