"""How far a process's own memory rises while a model is built, shared among ranks and filled."""

from __future__ import annotations

import threading
from pathlib import Path

import lightning


class Peak(lightning.Callback):
    """Notes how far this process's own memory rises while the model is built, sharded and filled.

    Pages of the weight files that are mapped do not count: the system takes them back when it needs them.
    """

    def __init__(self) -> None:
        self.before = self.highest = self._now()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def on_fit_start(self, trainer, pl_module) -> None:
        self.over.set()
        self.thread.join()

    @property
    def bytes(self) -> int:
        return self.highest - self.before

    def _watch(self) -> None:
        while not self.over.wait(0.002):
            self.highest = max(self.highest, self._now())

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
