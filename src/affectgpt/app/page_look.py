"""The look of the pages: colours, edges that can be seen, and fonts of the system, so that none is fetched."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONOSPACE = ("ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace")


def style_sheet(*names: str) -> str:
    """Style sheets of this folder, one after the other."""
    return "\n".join(files("affectgpt.app").joinpath(name).read_text("utf-8") for name in names)


def page_theme() -> Any:
    """The look: fonts of the system, so that none is fetched, and edges that can be seen."""
    theme = gr.themes.Soft(primary_hue="indigo", neutral_hue="slate", font=FONTS, font_mono=MONOSPACE)
    return theme.set(
        block_border_width="1px",
        input_border_width="1px",
        checkbox_border_width="1px",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_500",
        block_label_background_fill="*block_background_fill",
        block_label_background_fill_dark="*block_background_fill",
        block_label_text_color="*body_text_color",
        block_label_text_color_dark="*body_text_color",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_padding="0",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
    )
