"""From the bytes of a clip to frames and waveform.

``affectgpt.media.decode`` is the module; its function is ``affectgpt.media.decode.decode``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Decoded": "affectgpt.media.decode",
    "MediaProfile": "affectgpt.media.profile",
    "load_clip": "affectgpt.media.clip",
    "segment_waveform": "affectgpt.media.audio",
}

if TYPE_CHECKING:
    from affectgpt.media.audio import segment_waveform
    from affectgpt.media.clip import load_clip
    from affectgpt.media.decode import Decoded
    from affectgpt.media.profile import MediaProfile

__all__ = ["Decoded", "MediaProfile", "load_clip", "segment_waveform"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.media' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
