"""Puts the page together: its tabs, its look, what every request passes, and the start and stop of the models.

A tab is a function that is given the ``Page`` and builds components and their events inside the ``gradio.Tab`` that is
open: ``build_answer_tab`` is the shortest example. ``TABS`` lists them with the condition on which they are there.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import FastAPI

from affectgpt.app.annotate_tab import build_annotate_tab
from affectgpt.app.answer_tab import build_answer_tab
from affectgpt.app.blocks_mount import mount_blocks
from affectgpt.app.compare_tab import build_compare_tab
from affectgpt.app.local_page import local_page
from affectgpt.app.page_context import Page
from affectgpt.app.page_model import PageModel
from affectgpt.app.page_settings import PageSettings
from affectgpt.app.watch_tab import build_watch_tab
from affectgpt.pages.escaping import for_html
from affectgpt.serve.entrance import Queue
from affectgpt.serve.service_settings import ServiceSettings


@dataclass(frozen=True)
class TabEntry:
    """A tab of the page.

    Attributes:
        title: What stands on it.
        build: Builds its components and events.
        is_there: Whether a page has it.
    """

    title: str
    build: Callable[[Page], None]
    is_there: Callable[[Page], bool]


TABS: tuple[TabEntry, ...] = (
    TabEntry("Clip", build_answer_tab, lambda page: bool(page.models)),
    TabEntry("Film", build_watch_tab, lambda page: bool(page.models)),
    TabEntry("Compare", build_compare_tab, lambda page: len(page.models) > 1),
    TabEntry("Annotate", build_annotate_tab, lambda page: bool(page.models) and page.settings.annotations is not None),
)


def create_page(models: Sequence[PageModel], settings: PageSettings | None = None) -> FastAPI:
    """The page as an ASGI application; the models begin to work when the application starts.

    Uploads lie in a folder of their own below the system's folder for temporary files, which is removed when the
    application stops. gradio reads where from the environment variable ``GRADIO_TEMP_DIR``, so this sets it: one
    process has one page.

    Args:
        models: The models, in eval mode, on their devices: one, or two to compare.
        settings: The limits.

    Returns:
        The application; a server that stops should call ``app.state.stopping()``, which ends what has no end.
    """
    settings = settings or PageSettings()

    @asynccontextmanager
    async def working() -> AsyncIterator[None]:
        async with AsyncExitStack() as open_ones:
            for model in models:
                await open_ones.enter_async_context(model.working())
            yield

    app, visitors = local_page("affectgpt-page", settings, working)
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.folder)
    queue = Queue(ServiceSettings(max_queue=settings.max_waiting))
    blocks = build_blocks(lambda answered: Page(settings, tuple(models), visitors, queue, answered))
    mount_blocks(app, blocks, settings.max_upload_bytes, "page.css")
    return app


def build_blocks(make: Callable[[Any], Page]) -> Any:
    """The components and events of the page, a ``gradio.Blocks``; see ``create_page``.

    Args:
        make: Gives the ``Page``, given its ``answered``.
    """
    with gr.Blocks(title="affectgpt", analytics_enabled=False, fill_width=False) as blocks:
        page = make(gr.State(None))
        gr.HTML(_head(page.models), elem_id="head")
        with gr.Tabs():
            for entry in [entry for entry in TABS if entry.is_there(page)]:
                with gr.Tab(entry.title):
                    entry.build(page)
        gr.HTML(_FOOT, elem_id="foot")
    blocks.queue(default_concurrency_limit=None, max_size=4 * page.settings.max_waiting)
    return blocks


def _head(models: Sequence[PageModel]) -> str:
    names = " and ".join(f"<b>{for_html(model.name)}</b>" for model in models)
    return f"<h1>affectgpt</h1><p>How people in a clip appear{f' to {names}' if models else ''}.</p>"


_FOOT = (
    '<p class="ag-fine">A model guesses from faces, voices and words; it does not know what anybody feels, and it is '
    "often wrong. Uploads stay on the machine that runs this page and are deleted when you close it.</p>"
)
