"""Finds the main face of a clip and cuts it out.

Detectors are in the registry ``affectgpt.registry.FACE_DETECTORS``; ``crop_faces`` uses one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "FaceCrops": "affectgpt.media.faces.crop",
    "FaceDetector": "affectgpt.media.faces.base",
    "Faces": "affectgpt.media.faces.base",
    "crop_faces": "affectgpt.media.faces.crop",
    "find_faces": "affectgpt.media.faces.find",
}

if TYPE_CHECKING:
    from affectgpt.media.faces.base import FaceDetector, Faces
    from affectgpt.media.faces.crop import FaceCrops, crop_faces
    from affectgpt.media.faces.find import find_faces

__all__ = ["FaceCrops", "FaceDetector", "Faces", "crop_faces", "find_faces"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.media.faces' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
