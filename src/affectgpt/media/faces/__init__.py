"""Finds the main face of a clip and cuts it out.

Detectors are in the registry ``affectgpt.registry.FACE_DETECTORS``; ``crop_faces`` uses one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
