"""Detects that a rank of a distributed run has stopped or is gone, and names it."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from affectgpt.errors import ConfigError
from affectgpt.files import write_whole

FOLDER = ".ranks"
RANKS_A_SECOND = 50
"""Most signs of life per second from all ranks together, to spare a shared file system."""

SECONDS_AT_END = 30.0
"""Seconds without a sign of life after which a rank counts as lost once the run was told to end."""

_LOST = re.compile(r"connection (closed|reset|refused)|timed? ?out|broken pipe|gloo|nccl|\bstore\b", re.IGNORECASE)


class RankWatch(lightning.Callback):
    """Has every rank give signs of life in files beside the run, and ends the run if one gives none for too long.

    If a rank is stopped, or hangs with its machine, the others wait for it until the collectives time out half an hour
    later, with an error that does not name the rank. If a rank is killed, the others' connections break, and their
    error gives an address but no rank. A thread gives the signs, so that long work, such as writing a checkpoint, does
    not count as a stop. Use it as a context manager.

    The first rank looks at the signs of all others, and leaves what it finds in a file for them; they look at that file
    and at the first rank alone, so that what a shared file system is asked grows with the number of ranks, not with its
    square. Signs are opened to find their age: a file system may remember what it knows without opening them.

    After an error of its own a rank writes no checkpoint, whatever ``save_on_exception`` says: every rank would have to
    take part, and the others are in the middle of a step.

    Args:
        timeout: Seconds without a sign of life after which a rank counts as lost.
        end: Called with the message when that happens; must end the process, whose main thread waits in a collective
            that will never finish and where no exception reaches it.
        is_ending: Whether the run was told to end: a launcher does so when it has lost a rank, and ``SECONDS_AT_END``
            are then enough.

    Attributes:
        lost: What happened to another rank, if that caused an error here.

    Raises:
        ConfigError: If ``timeout`` is not positive.
    """

    def __init__(
        self, timeout: float, end: Callable[[str], None], is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        if timeout <= 0:
            raise ConfigError(f"rank_timeout is {timeout:g}, but must be a number of seconds above 0")
        self.timeout = timeout
        self.end = end
        self.is_ending = is_ending
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
        self._give_sign()
        if trainer.is_global_zero:
            self._sweep()
        threading.Thread(target=self._watch, name="rank watch", daemon=True).start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record this rank's progress."""
        self._step = trainer.global_step

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Find out whether another rank caused an error; leave no rank waiting for one that does not come."""
        if trainer.world_size > 1 and not isinstance(exception, SIGTERMException):
            for saver in trainer.checkpoint_callbacks:
                if isinstance(saver, ModelCheckpoint):
                    saver.save_on_exception = False
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

    @property
    def _verdict(self) -> Path:
        """Where the first rank says which ranks are lost."""
        return self._folder / f"{self._run}-lost.txt"

    def _sweep(self) -> None:
        """Remove what a run that was killed left; another run may be giving signs in the same folder."""
        now = _age_of(self._file(0))
        for left in self._folder.iterdir():
            with suppress(OSError):
                if now - left.stat().st_mtime > 2 * self.timeout:
                    left.unlink()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(self._seconds):
            try:
                self._give_sign()
                found = self._told()
                patience = min(self.timeout, SECONDS_AT_END) if self.is_ending() else self.timeout
                if found is None and time.monotonic() - looked >= patience / 4:
                    looked = time.monotonic()
                    why = "" if patience < self.timeout else " (rank_timeout)"
                    found = self._look(patience, f"gave no sign of life for {patience:g} s{why}")
            except OSError:
                continue  # the file system does not answer: the state of the others is unknown
            if found and not self._over.is_set():
                self.end(found)

    def _told(self) -> str | None:
        """What the first rank found."""
        try:
            return self._verdict.read_text(encoding="utf-8") if self._rank else None
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def _look(self, seconds: float, what: str) -> str | None:
        """Name ranks that are silent for so long: the first rank looks at all, and tells the others of it."""
        missed = self._silent_for(seconds, range(1, self._world) if self._rank == 0 else [0])
        return self._tell(self._names(missed) + f" {what}") if missed else None

    def _tell(self, found: str) -> str:
        found += _GO_ON
        if self._rank == 0:
            with suppress(OSError):
                write_whole(self._verdict, found)
        return found

    def _silent_for(self, seconds: float, ranks: Iterable[int]) -> list[int]:
        """Ranks whose last sign is that much older than this rank's; ranks that never gave one are not counted."""
        now = _age_of(self._file(self._rank))  # the file system's clock, the same for all ranks
        found = []
        for rank in ranks:
            with suppress(FileNotFoundError):
                if now - _age_of(self._file(rank)) > seconds:
                    found.append(rank)
        return found

    def _find(self) -> str | None:
        """Find the rank that caused an error: one that gives no more signs, or else one that lags behind."""
        silence, what = 2.5 * self._seconds, "is gone: it was killed, or ended with an error of its own"
        with suppress(OSError):
            until = time.monotonic() + 5 * self._seconds
            while time.monotonic() < until:
                if found := self._told() or self._look(silence, what):
                    return found
                time.sleep(self._seconds / 4)
            if self._rank:  # the first rank may not have noticed
                missed = self._silent_for(silence, set(range(self._world)) - {self._rank})
                return self._tell(f"{self._names(missed)} {what}") if missed else None
            steps = {rank: self._sign(rank).get("step", self._step) for rank in range(self._world)}
            behind = [rank for rank, step in steps.items() if step < self._step]
            if behind:
                return self._tell(f"{self._names(behind)} is alive, but did not get beyond step {steps[behind[0]]}")
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


def _age_of(sign: Path) -> float:
    """When a sign was given, in seconds of the file system's clock; opening the file asks the server for it."""
    with sign.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime


_GO_ON = "; the run cannot continue without it. Start it again with --ckpt_path and the last checkpoint"
