"""One page for the tests of a browser, on a port of its own, and the browser that looks at it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI

from affectgpt.app import PageModel, PageSettings, create_page
from affectgpt.serve import ServiceSettings
from affectgpt.serve.uvicorn_server import make_server
from clipmaker import make_clip
from servicerunner import tiny_model

MEGABYTE = 2**20


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> PageSettings:
    """Small limits, so that small files reach them."""
    log = tmp_path_factory.mktemp("log") / "review.jsonl"
    return PageSettings(
        max_upload_bytes=MEGABYTE, max_clip_seconds=5.0, max_film_seconds=30.0, keep_seconds=0.2, annotations=log
    )


@contextmanager
def running_page(app: FastAPI) -> Iterator[str]:
    """The URL of a page that runs in a thread until the block ends."""
    ready, urls = threading.Event(), []

    def note(found: str) -> None:
        urls.append(found)
        ready.set()

    server, bound = make_server(app, port=0, settings=ServiceSettings(), ready=note, stopping=app.state.stopping)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    with bound:
        thread.start()
        assert ready.wait(120), "the page did not start"
        yield urls[0]
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="session")
def run_page() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """Runs a page, see ``running_page``."""
    return running_page


@pytest.fixture(scope="session")
def url(settings: PageSettings) -> Iterator[str]:
    """A page with two models of random weights."""
    streams = {"frame": "tiny-vision", "face": "tiny-vision", "audio": "tiny-audio"}
    models = [PageModel(name, tiny_model(streams=streams), settings) for name in ("first", "second")]
    app = create_page(models, settings)
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    with running_page(app) as found:
        yield found
    assert not folder.exists(), "uploads are left after the page has stopped"


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "my clip.mp4"
    path.write_bytes(make_clip(1.0))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """The system's Chromium, without a window. An event loop runs as long as it does, so it ends with its module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as running:
        args = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        chromium = running.chromium.launch(executable_path=found, args=args)
        yield chromium
        chromium.close()
