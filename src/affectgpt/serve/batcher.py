"""Gathers jobs that come one by one into batches, which one thread works off."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Job, Result]):
    job: Job
    future: asyncio.Future[Result]
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Job, Result]):
    """Runs jobs in batches.

    A batch begins when ``max_batch`` jobs wait, or the oldest of them has waited for ``max_wait_seconds``. Jobs that
    come while a batch runs wait for the next one. A job whose caller is cancelled, such as by a time-out or because
    the client hung up, is dropped unless its batch already runs.

    Args:
        run: Works off a batch, in a thread that does nothing else: a result, or an exception to raise, for each job.
        max_batch: Most jobs in a batch.
        max_wait_seconds: See above.
        seen: Told the size and the seconds of each batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        max_batch: int,
        max_wait_seconds: float,
        seen: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._run, self._seen = run, seen
        self._max_batch, self._max_wait_seconds = max_batch, max_wait_seconds
        self._waiting: deque[_Waiting[Job, Result]] = deque()
        self._changed = asyncio.Event()
        self._is_closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Jobs that wait for their batch."""
        return sum(not one.future.done() for one in self._waiting)

    @property
    def is_working(self) -> bool:
        """Whether jobs are taken."""
        return self._task is not None and not self._task.done() and not self._is_closing

    def start(self) -> None:
        """Begin to work; call it inside the event loop."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish the jobs that were asked for, and end the thread."""
        self._is_closing = True
        self._changed.set()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def ask(self, job: Job) -> Result:
        """The result of a job.

        Raises:
            RuntimeError: If the batcher does not work.
            Exception: What ``run`` gave or raised for the job.
        """
        if not self.is_working:
            raise RuntimeError("the batcher is not running")
        waiting: _Waiting[Job, Result] = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._changed.set()
        try:
            return await waiting.future
        finally:
            if not waiting.future.done():
                waiting.future.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            if batch is None:
                return
            start = time.monotonic()
            results: Sequence[Result | Exception]
            try:
                results = await loop.run_in_executor(self._thread, self._run, [one.job for one in batch])
                if len(results) != len(batch):
                    raise RuntimeError(f"{len(results)} results for a batch of {len(batch)} jobs")
            except Exception as error:
                log.exception("a batch of %d jobs failed", len(batch))
                results = [error] * len(batch)
            self._seen(len(batch), time.monotonic() - start)
            for one, result in zip(batch, results, strict=True):
                if one.future.done():  # its caller left while the batch ran
                    continue
                if isinstance(result, Exception):
                    one.future.set_exception(result)
                else:
                    one.future.set_result(result)

    async def _gather(self) -> list[_Waiting[Job, Result]] | None:
        """The next batch; ``None`` when there will be none."""
        while True:
            self._changed.clear()
            open_ones = deque(one for one in self._waiting if not one.future.done())
            self._waiting = open_ones
            if not open_ones and self._is_closing:
                return None
            left = None
            if open_ones:
                left = open_ones[0].since + self._max_wait_seconds - time.monotonic()
                if len(open_ones) >= self._max_batch or left <= 0 or self._is_closing:
                    return [open_ones.popleft() for _ in range(min(self._max_batch, len(open_ones)))]
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
