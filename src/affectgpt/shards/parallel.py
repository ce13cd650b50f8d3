"""Runs a job over items in several processes and gives the results in order; a job that kills its process is named."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD_PER_WORKER = 4


def map_in_order(
    job: Callable[[Item], Result], items: Iterable[Item], workers: int, crashed: Callable[[Item], Result]
) -> Iterator[Result]:
    """Yield ``job(item)`` for every item, in order.

    Args:
        job: A function of a module, that raises only for mistakes of ours.
        items: What to work on; only a few are taken ahead of the result that is due.
        workers: Processes; 0 runs the job here.
        crashed: Gives the result of an item whose job killed its process twice (a decoder that crashed, a process that
            ran out of memory).
    """
    if not workers:
        yield from map(job, items)
        return
    source = iter(items)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            while len(waiting) < workers * _AHEAD_PER_WORKER:
                try:
                    item = next(source)
                except StopIteration:
                    break
                waiting.append((item, _submit(pool, job, item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                result = future.result()
            except BrokenProcessPool:  # whose fault it was is not known: the item that is due is tried alone
                pool.shutdown(wait=False, cancel_futures=True)
                result = _alone(job, item, crashed)
                pool = _pool(workers)
                waiting = deque((other, _submit(pool, job, other)) for other, _ in waiting)
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, job: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(job, item)
    except BrokenProcessPool as error:
        broken: Future[Result] = Future()
        broken.set_exception(error)
        return broken


def _alone(job: Callable[[Item], Result], item: Item, crashed: Callable[[Item], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(job, item).result()
        except BrokenProcessPool:
            return crashed(item)


def _pool(workers: int) -> ProcessPoolExecutor:
    # a forked copy of a process that has threads may hang; a spawned one is clean
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start)


def _start() -> None:
    """End this process when its parent is killed: else it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
