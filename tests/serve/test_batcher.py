"""Jobs are gathered into batches; those whose caller left are dropped, and a stop finishes what was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from affectgpt.serve import Batcher


class Squares:
    """Squares numbers once its gate is open; negative ones are refused, and 13 breaks the batch."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate, self.begun = threading.Event(), threading.Event()
        if is_open:
            self.gate.set()

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(jobs))
        self.begun.set()
        assert self.gate.wait(60)
        if 13 in jobs:
            raise RuntimeError("unlucky")
        return [ValueError(f"{job} is negative") if job < 0 else job * job for job in jobs]


def test_jobs_that_come_together_are_one_batch_and_each_gets_its_own_result() -> None:
    run, seen = Squares(), []

    async def main() -> list[int]:
        batcher = Batcher(run, 4, 5.0, lambda size, seconds: seen.append(size))
        batcher.start()
        found = await asyncio.gather(*map(batcher.ask, range(8)))
        await batcher.stop()
        return found

    assert asyncio.run(main()) == [n * n for n in range(8)]
    assert run.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert seen == [4, 4]


def test_an_incomplete_batch_waits_no_longer_than_it_may() -> None:
    run = Squares()

    async def main() -> int:
        batcher = Batcher(run, 1000, 0.01)
        batcher.start()
        found = await batcher.ask(3)
        await batcher.stop()
        return found

    assert asyncio.run(main()) == 9


def test_what_comes_while_a_batch_runs_is_the_next_batch_without_those_who_left() -> None:
    run = Squares(is_open=False)

    async def main() -> list[int]:
        batcher = Batcher(run, 8, 0.0)
        batcher.start()
        first = asyncio.create_task(batcher.ask(1))
        await asyncio.to_thread(run.begun.wait, 60)
        others = [asyncio.create_task(batcher.ask(n)) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        assert batcher.num_waiting == 3
        others[1].cancel()
        await asyncio.sleep(0)
        assert batcher.num_waiting == 2
        run.gate.set()
        found = await asyncio.gather(first, others[0], others[2])
        await batcher.stop()
        return found

    assert asyncio.run(main()) == [1, 4, 16]
    assert run.batches == [[1], [2, 4]]


def test_one_who_leaves_a_running_batch_disturbs_nobody() -> None:
    run = Squares(is_open=False)

    async def main() -> int:
        batcher = Batcher(run, 2, 5.0)
        batcher.start()
        leaving, staying = asyncio.create_task(batcher.ask(5)), asyncio.create_task(batcher.ask(6))
        await asyncio.to_thread(run.begun.wait, 60)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        run.gate.set()
        found = await staying
        await batcher.stop()
        return found

    assert asyncio.run(main()) == 36


def test_an_error_reaches_whom_it_concerns_and_the_next_batch_runs() -> None:
    run = Squares()

    async def main() -> None:
        batcher = Batcher(run, 2, 0.05)
        batcher.start()
        one, refused = await asyncio.gather(batcher.ask(2), batcher.ask(-1), return_exceptions=True)
        assert one == 4
        assert str(refused) == "-1 is negative"
        broken = await asyncio.gather(batcher.ask(13), batcher.ask(1), return_exceptions=True)
        assert [str(error) for error in broken] == ["unlucky", "unlucky"]
        assert await batcher.ask(7) == 49
        await batcher.stop()

    asyncio.run(main())


def test_a_stop_finishes_what_was_asked_and_takes_nothing_more() -> None:
    run = Squares(is_open=False)

    async def main() -> list[int]:
        batcher = Batcher(run, 1, 0.0)
        batcher.start()
        asked = [asyncio.create_task(batcher.ask(n)) for n in (1, 2, 3)]
        await asyncio.to_thread(run.begun.wait, 60)
        stop = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="not running"):
            await batcher.ask(4)
        run.gate.set()
        await stop
        return await asyncio.gather(*asked)

    assert asyncio.run(main()) == [1, 4, 9]
    assert run.batches == [[1], [2], [3]]
