"""SIGTERM: the service takes nothing new, finishes what it has taken, and ends without an error or a process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from servicerunner import meter, wait_until

HERE = Path(__file__).resolve().parent


def test_what_was_taken_is_answered_before_the_service_ends(clip, tmp_path) -> None:
    paths = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(HERE / "stopping_service.py"), str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}) as process,
        ThreadPoolExecutor(2) as pool,
    ):
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")

            def ask() -> int:
                return httpx2.post(f"{url}/v1/answers", files={"file": ("a.mp4", clip)}, timeout=200).status_code

            asked = [pool.submit(ask) for _ in range(2)]  # one runs, one waits for the next batch
            wait_until(lambda: meter(url, "affectgpt_queue_length") == 1, "one request to run and one to wait")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _answers(url), "the service to take nothing new")
            (tmp_path / "go").touch()
            assert [job.result(200) for job in asked] == [200, 200]
            assert process.wait(100) == 0
            assert process.stdout.read() == "stopped\n"
        finally:
            (tmp_path / "go").touch()
            process.kill()


def _answers(url: str) -> bool:
    try:
        httpx2.get(f"{url}/healthz", timeout=60)
    except httpx2.TransportError:
        return False
    return True
