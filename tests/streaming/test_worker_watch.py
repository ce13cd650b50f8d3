"""A process ends although somebody still holds a loader whose workers ignore what ends them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import multiprocessing, signal, time
from affectgpt.datamodules.worker_watch import WorkerWatch

def work(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(900)

context = multiprocessing.get_context("fork")
ready = context.Event()
worker = context.Process(target=work, args=(ready,), daemon=True)
worker.start()
ready.wait()
watch = WorkerWatch([worker])
print(worker.pid)
"""


def test_python_does_not_wait_for_workers_that_are_left() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip().isdigit()
    assert done.stderr == ""
