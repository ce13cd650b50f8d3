"""Runs a job over items in separate processes, in order; an item that crashes its process is named."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Self, TypeVar

from affectgpt.media.memory import is_out_of_memory, watch_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD_PER_WORKER = 4
"""Number of results to compute ahead, per process."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_MOST_CRASHES, _MOST_KILLS = 2, 3
# A kill from outside is not the item's fault, so it takes one more death to blame the item


def map_in_order(
    job: Callable[[Item], Result], items: Iterable[Item], workers: int, crashed: Callable[[Item, str], Result]
) -> Iterator[Result]:
    """Yield ``job(item)`` for every item, in order.

    Each process works on one item at a time, so that a crash affects that item only. The item is tried again in a new
    process, once after a crash of its own and twice after a kill from outside.

    Args:
        job: A picklable function; it raises only for errors in the library.
        items: The items; only a few are taken ahead of the next result.
        workers: Number of processes; 0 runs the job in this process, which a crash would end.
        crashed: Returns the result of an item that crashed its processes, given the item and what happened, in words.

    Raises:
        RuntimeError: If the processes cannot be started.
    """
    if not workers:
        yield from map(job, items)
        return
    with Isolated(job, workers, crashed) as pool:
        yield from pool.map(items)


class Isolated(Generic[Item, Result]):
    """A job in separate processes; ``map_in_order`` uses it for one list of items.

    There are as many threads as processes; each thread feeds one process, one item after the other.

    Args:
        job: See ``map_in_order``.
        workers: Number of processes, at least one; the first items start them, and they stay until the block ends.
        crashed: See ``map_in_order``.
    """

    def __init__(self, job: Callable[[Item], Result], workers: int, crashed: Callable[[Item, str], Result]) -> None:
        self._job = pickle.dumps(job)
        self._num_workers = workers
        self._crashed = crashed
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="isolated")
        self._own = threading.local()
        self._all: set[_Worker] = set()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        for worker in tuple(self._all):  # a running job is cut short, since nobody waits for its result
            worker.stop()
        self._threads.shutdown(cancel_futures=True)
        for worker in tuple(self._all):
            worker.stop()

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """The results of some items, in order; only a few items are taken ahead of the next result."""
        source = iter(items)
        waiting: deque[Future[Result]] = deque()
        while True:
            while len(waiting) < self._num_workers * AHEAD_PER_WORKER:
                try:
                    waiting.append(self.submit(next(source)))
                except StopIteration:
                    break
            if not waiting:
                return
            yield waiting.popleft().result()

    def submit(self, item: Item) -> Future[Result]:
        """Give an item to the next free process."""
        return self._threads.submit(self._do, item)

    def _do(self, item: Item) -> Result:
        crashes = kills = 0
        while True:
            worker = self._worker()
            try:
                result: Result = worker.do(item)
                return result
            except _OutOfMemoryError as error:
                return self._crashed(item, str(error))
            except EOFError:
                code = worker.exit_code()
                self._drop(worker)
                if self._is_closed:
                    raise
                kills += code in [-number for number in _FROM_OUTSIDE]
                crashes += code not in [-number for number in _FROM_OUTSIDE]
                if crashes >= _MOST_CRASHES or crashes + kills >= _MOST_KILLS:
                    return self._crashed(item, _story(code))

    def _worker(self) -> _Worker:
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = _Worker(self._job)
            self._all.add(worker)
        return worker

    def _drop(self, worker: _Worker) -> None:
        self._own.worker = None
        self._all.discard(worker)
        worker.stop()


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self, job: bytes) -> None:
        # a forked copy of a process with threads may hang; a spawned one does not
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._pipe.recv_bytes()
        except EOFError:
            code = self.exit_code()
            raise RuntimeError(
                f"a process to decode in could not be started (exit code {code}); in a script of your own, call this "
                "below `if __name__ == '__main__':`, or use 0 workers"
            ) from None

    def do(self, item: Any) -> Any:
        """Send an item and wait for its result.

        Raises:
            EOFError: If the process ends before it answers.
            Exception: What the job raised.
        """
        try:
            self._pipe.send_bytes(pickle.dumps(item))
            answer = self._pipe.recv_bytes()
        except OSError as error:  # a broken pipe, or one that this process closed
            raise EOFError from error
        done, value = pickle.loads(answer)
        if not done:
            raise value
        return value

    def exit_code(self) -> int | None:
        """How the process ended: negative for the signal that ended it."""
        self._process.join(5)
        return self._process.exitcode

    def stop(self) -> None:
        """End the process."""
        with suppress(ValueError):  # it is already closed
            self._process.kill()
            self._process.join()
            self._process.close()
            self._pipe.close()


class _OutOfMemoryError(Exception):
    """A job needed more memory than it is allowed."""


def _serve(pipe: Connection, job: bytes) -> None:
    """The main loop of a worker: read items and send results until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work = pickle.loads(job)
    watch_memory()
    pipe.send_bytes(b"ready")
    while True:
        try:
            item = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            answer = pickle.dumps((True, work(pickle.loads(item))), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            answer = _failure(error)
        pipe.send_bytes(answer)


def _failure(error: Exception) -> bytes:
    if is_out_of_memory(error):
        error = _OutOfMemoryError("it needs more memory than a worker is allowed (affectgpt.media.limits)")
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)
    except Exception:  # an exception of another library that cannot be pickled
        answer = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return answer


def _end_with_parent() -> None:
    """End this process when its parent is killed in the middle of a job; else it would keep running."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _story(code: int | None) -> str:
    """What happened to a process, in words."""
    if code is None or code >= 0:
        return f"the process ended with exit code {code}"
    with suppress(ValueError):
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process was ended by signal {-code}"
