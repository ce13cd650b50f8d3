"""Shared code of self-contained report pages: the style sheet, escaping and plots."""

from __future__ import annotations

from pathlib import Path


def style_sheet() -> str:
    """The style of every report page, for its ``<style>`` element."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")
