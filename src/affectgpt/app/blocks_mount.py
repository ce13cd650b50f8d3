"""Puts gradio's components into an application, with everything off that a local page does not need."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI

from affectgpt.app.page_look import page_theme, style_sheet


def mount_blocks(app: FastAPI, blocks: gr.Blocks, max_upload_bytes: int, *styles: str) -> None:
    """Serve components at ``/``: no server-side rendering, no history, no monitoring, no text of errors.

    Args:
        app: The application.
        blocks: The components and events.
        max_upload_bytes: Largest upload.
        styles: Names of style sheets, see ``style_sheet``.
    """
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max_upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=page_theme(),
        css=style_sheet(*styles),
    )
    blocks.has_launched = True  # only then does gradio refuse files that nobody uploaded
