"""Runs the service on a port of its own while a block of a test runs, and a model that answers in milliseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import torch

from affectgpt import AffectGPT
from affectgpt.serve import ServiceSettings, create_app
from affectgpt.serve.prompt_writer import NetworkWriter
from affectgpt.serve.uvicorn_server import make_server

MEDIA = {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32}


def tiny_model(**changes: Any) -> AffectGPT:
    """A model of a few thousand random weights, with faces left out."""
    torch.manual_seed(0)
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    settings = {"streams": streams, "llm": "tiny", "media": MEDIA, "max_new_tokens": 6}
    return AffectGPT.from_config(settings | changes).eval()


class GatedWriter(NetworkWriter):
    """Writes as the model does, but only while its gate is open."""

    def __init__(self, model: AffectGPT) -> None:
        super().__init__(model.network)
        self.gate, self.sizes = threading.Event(), []

    def __call__(self, prompt, content, max_new_tokens, sampling):
        self.sizes.append(len(prompt.ids))
        assert self.gate.wait(120)
        return super().__call__(prompt, content, max_new_tokens, sampling)


@contextmanager
def running(model: AffectGPT, settings: ServiceSettings | None = None, **more: Any) -> Iterator[str]:
    """The service's URL."""
    settings = settings or ServiceSettings(decoders=1)
    ready, urls = threading.Event(), []

    def note(url: str) -> None:
        urls.append(url)
        ready.set()

    server, bound = make_server(create_app(model, settings, **more), port=0, settings=settings, ready=note)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    with bound:
        thread.start()
        assert ready.wait(120), "the service did not start"
        try:
            yield urls[0]
        finally:
            server.should_exit = True
            thread.join(120)
            assert not thread.is_alive(), "the service did not stop"


def meter(url: str, name: str) -> float:
    """The value of a meter without labels, or of one with the labels in its name."""
    lines = httpx2.get(f"{url}/metrics", timeout=60).text.splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name} "))
    return float(found.split()[-1])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that will come; how long it takes depends on the machine."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"waited a minute for: {what}"
        time.sleep(0.02)
