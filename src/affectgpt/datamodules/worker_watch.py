"""Notices the death of a loader's worker where the loader is asked for a batch, and nowhere else."""

from __future__ import annotations

import atexit
import multiprocessing.util  # noqa: F401  it registers its wait for workers, which must come after _kill_all
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

_WATCHES: weakref.WeakSet[WorkerWatch] = weakref.WeakSet()


class WorkerDiedError(Exception):
    """A worker of a loader has died; the message says how."""


class WorkerWatch:
    """Follows the batches of a ``DataLoader`` with workers.

    torch raises an error wherever the main thread happens to be when a worker dies, in the middle of an optimiser step
    too. From the first watch on, such an error comes up where the loader of the dead worker is asked for a batch.

    Args:
        workers: The processes of the loader.
    """

    def __init__(self, workers: Sequence[BaseProcess]) -> None:
        self._workers = workers
        self.is_waiting = False
        _WATCHES.add(self)
        _take_over_signal()

    def follow(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, as long as every worker lives.

        Raises:
            WorkerDiedError: If one has died.
        """
        while True:
            try:
                self.is_waiting = True
                self.check()
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError:
                self.check()
                raise
            finally:
                self.is_waiting = False
            yield batch

    def check(self) -> None:
        """See that every worker lives, or has ended as it should.

        Raises:
            WorkerDiedError: If one has died.
        """
        codes = [worker.exitcode for worker in self._workers]
        died = [code for code in codes if code]
        if died:
            raise WorkerDiedError(_story(died[0]))

    def kill(self) -> None:
        """End the workers that are left: they ignore the signal that torch sends, and Python would wait for them."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.join()  # their end is noticed while this watch is there to explain it


def _kill_all() -> None:
    """End the workers of loaders that somebody still holds, such as a traceback, before Python waits for them."""
    for watch in list(_WATCHES):
        watch.kill()


atexit.register(_kill_all)  # what is registered last runs first


def _take_over_signal() -> None:
    """Stand in front of torch's handler of SIGCHLD, or in its place.

    torch sets it once in a process, when the first loader with workers begins, and Lightning takes it away again at the
    end of a run: in a second run nobody would be told of a dead worker.
    """
    previous = signal.getsignal(signal.SIGCHLD)
    is_main = threading.current_thread() is threading.main_thread()  # no other may set handlers, and torch sets none
    if is_main and not isinstance(previous, _Handler):
        signal.signal(signal.SIGCHLD, _Handler(previous if callable(previous) else None))


class _Handler:
    def __init__(self, previous: Callable[[int, FrameType | None], Any] | None) -> None:
        self._previous = previous

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        problem: RuntimeError | None = None
        try:
            if self._previous is not None:
                self._previous(signum, frame)
        except RuntimeError as error:
            problem = error
        for watch in list(_WATCHES):
            try:
                watch.check()
            except WorkerDiedError:
                problem = None  # its loader finds it when it is asked
                if watch.is_waiting:
                    raise
        if problem is not None:
            raise problem


def _story(code: int) -> str:
    if code > 0:
        return f"a worker ended with exit code {code}"
    try:
        return f"a worker was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"a worker was ended by signal {-code}"
