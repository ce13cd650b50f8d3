"""Submissions to MER2026: answers checked against the list of candidates, written, and scored on an honest split."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
