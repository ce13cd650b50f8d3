"""Jobs that a spawned process can import: a worker of packing that dies, and packings that a test can kill."""

from __future__ import annotations

import os
import signal
import time


def square(number: int) -> int:
    return number * number


def square_or_die(number: int) -> int:
    if number in (3, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def own_pid(_: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def segfault_on_three(item: object) -> object:
    if item == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return item


def die_often(item: tuple[str, int]) -> int:
    """Be killed at the first attempts; the file counts them."""
    path, times = item
    with open(path, "a") as file:
        file.write("x")
    count = os.path.getsize(path)
    if count <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return count - 1


def fail(item: object) -> None:
    raise KeyError(item)


def refuse_memory(item: object) -> None:
    raise MemoryError
