"""Prompts as data: segments, published layouts, and their rendering to token ids."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "AnswerEnd": "template",
    "LAYOUTS": "layouts",
    "Field": "template",
    "PromptStyle": "template",
    "Segment": "template",
    "Slot": "template",
    "Text": "template",
    "STYLES": "official",
    "get_style": "official",
    "PromptIds": "render",
    "Renderer": "render",
}

if TYPE_CHECKING:
    from affectgpt.prompts.layouts import LAYOUTS
    from affectgpt.prompts.official import STYLES, get_style
    from affectgpt.prompts.render import PromptIds, Renderer
    from affectgpt.prompts.template import AnswerEnd, Field, PromptStyle, Segment, Slot, Text

__all__ = [
    "LAYOUTS",
    "STYLES",
    "AnswerEnd",
    "Field",
    "PromptIds",
    "PromptStyle",
    "Renderer",
    "Segment",
    "Slot",
    "Text",
    "get_style",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
