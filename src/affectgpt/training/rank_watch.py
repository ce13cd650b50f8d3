"""Detects that a rank of a distributed run has stopped or is gone, and names it."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lightning

from affectgpt.errors import ConfigError

FOLDER = ".ranks"
RANKS_A_SECOND = 50
"""Most signs of life per second from all ranks together, to spare a shared file system."""

_LOST = re.compile(r"connection (closed|reset|refused)|timed? ?out|broken pipe|gloo|nccl|\bstore\b", re.IGNORECASE)


class RankWatch(lightning.Callback):
    """Has every rank give signs of life in files beside the run, and ends the run if one gives none for too long.

    If a rank is stopped, or hangs with its machine, the others wait for it until the collectives time out half an hour
    later, with an error that does not name the rank. If a rank is killed, the others' connections break, and their
    error gives an address but no rank. A thread gives the signs, so that long work, such as writing a checkpoint, does
    not count as a stop. Use it as a context manager.

    Args:
        timeout: Seconds without a sign of life after which a rank counts as lost.
        end: Called with the message when that happens; must end the process, whose main thread waits in a collective
            that will never finish and where no exception reaches it.

    Attributes:
        lost: What happened to another rank, if that caused an error here.

    Raises:
        ConfigError: If ``timeout`` is not positive.
    """

    def __init__(self, timeout: float, end: Callable[[str], None]) -> None:
        if timeout <= 0:
            raise ConfigError(f"rank_timeout is {timeout:g}, but must be a number of seconds above 0")
        self.timeout = timeout
        self.end = end
        self.lost: str | None = None
        self._rank, self._world, self._step = 0, 1, 0
        self._folder = Path()
        self._run = ""
        self._over = threading.Event()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Start giving signs of life."""
        if trainer.world_size == 1 or "://" in str(trainer.default_root_dir):
            return
        self._rank, self._world = trainer.global_rank, trainer.world_size
        self._run = trainer.strategy.broadcast(uuid.uuid4().hex[:8])
        self._folder = Path(trainer.default_root_dir, FOLDER)
        self._folder.mkdir(parents=True, exist_ok=True)
        if trainer.is_global_zero:
            for left in self._folder.glob("*.json"):  # left by a run that was killed
                if not left.name.startswith(self._run):
                    left.unlink(missing_ok=True)
        self._give_sign()
        threading.Thread(target=self._watch, name="rank watch", daemon=True).start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record this rank's progress."""
        self._step = trainer.global_step

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Find out whether another rank caused an error."""
        if self._run and isinstance(exception, RuntimeError) and _LOST.search(str(exception)):
            self.lost = self._find()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Remove this rank's sign, unless it ends with an error: then the others must notice its absence."""
        self._over.set()
        if self._run:
            self._file(self._rank).unlink(missing_ok=True)
            with suppress(OSError):
                self._folder.rmdir()  # the last rank removes it

    def _file(self, rank: int) -> Path:
        return self._folder / f"{self._run}-{rank}.json"

    def _give_sign(self) -> None:
        sign = {"host": socket.gethostname(), "process": os.getpid(), "step": self._step}
        self._file(self._rank).write_text(json.dumps(sign), encoding="utf-8")

    @property
    def _seconds(self) -> float:
        return max(1.0, self._world / RANKS_A_SECOND)

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(self._seconds):
            try:
                self._give_sign()
                if time.monotonic() - looked < self.timeout / 4:
                    continue
                looked = time.monotonic()
                missed = self._silent_for(self.timeout)
            except OSError:
                continue  # the file system does not answer: the state of the others is unknown
            if missed and not self._over.is_set():
                self.end(f"{self._names(missed)} gave no sign of life for {self.timeout:g} s (rank_timeout)" + _GO_ON)

    def _silent_for(self, seconds: float) -> list[int]:
        """Ranks whose last sign is that much older than this rank's; ranks that never gave one are not counted."""
        now = self._file(self._rank).stat().st_mtime  # the file system's clock, the same for all ranks
        found = []
        for rank in set(range(self._world)) - {self._rank}:
            with suppress(FileNotFoundError):
                if now - self._file(rank).stat().st_mtime > seconds:
                    found.append(rank)
        return found

    def _find(self) -> str | None:
        """Find the rank that caused an error: one that gives no more signs, or else one that lags behind."""
        with suppress(OSError):
            until = time.monotonic() + 5 * self._seconds
            while time.monotonic() < until:
                if missed := self._silent_for(2.5 * self._seconds):
                    return f"{self._names(missed)} is gone: it was killed, or ended with an error of its own" + _GO_ON
                time.sleep(self._seconds / 4)
            steps = {rank: self._sign(rank).get("step", self._step) for rank in range(self._world)}
            behind = [rank for rank, step in steps.items() if step < self._step]
            if behind:
                return f"{self._names(behind)} is alive, but did not get beyond step {steps[behind[0]]}" + _GO_ON
        return None

    def _sign(self, rank: int) -> dict[str, Any]:
        try:
            sign: dict[str, Any] = json.loads(self._file(rank).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return sign

    def _names(self, ranks: list[int]) -> str:
        named = []
        for rank in ranks[:3]:
            sign = self._sign(rank)
            where = f"process {sign.get('process', '?')} on {sign.get('host', '?')}"
            named.append(f"rank {rank} ({where}, last seen at step {sign.get('step', '?')})")
        return ", ".join(named) + (f" and {len(ranks) - 3} more" if len(ranks) > 3 else "")


_GO_ON = "; the run cannot continue without it. Start it again with --ckpt_path and the last checkpoint"
