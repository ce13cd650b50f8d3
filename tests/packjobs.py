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
