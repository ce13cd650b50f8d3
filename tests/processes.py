"""Runs training in forked processes, one for each rank, so that they can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def settings_for(out: Path, **options: object) -> str:
    """Write the worker's settings; it goes on from the last checkpoint if there is one."""
    out.mkdir(exist_ok=True)
    last = out / "last.ckpt"
    settings = {"model": "reader", "num_workers": 0, "batch_size": 2, "world": 1, "kill_at": None, **options}
    path = out / "settings.json"
    path.write_text(json.dumps(settings | {"out": str(out), "ckpt": str(last) if last.exists() else None}))
    return str(path)


def in_processes(
    target: Callable[..., object], *args: object, world: int = 1, kill_last: bool = False
) -> list[int | None]:
    """Run in processes of their own, one for each rank; the modules they need are imported already.

    With ``kill_last`` the last rank is killed when the others have ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(world):
        place: dict[str, str] = {}
        if world > 1:
            place = {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(world)}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = multiprocessing.get_context("fork").Process(target=_rank, args=(place, target, args))
        process.start()
        processes.append(process)
    for process in processes:
        if kill_last and process is processes[-1]:
            process.kill()
        process.join(120)
    assert all(process.exitcode is not None for process in processes), "a process hangs"
    return [process.exitcode for process in processes]


def _rank(place: dict[str, str], target: Callable[..., object], args: tuple[object, ...]) -> None:
    os.environ.update(place)
    sys.exit(target(*args))
