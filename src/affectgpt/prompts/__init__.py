"""Prompts as data: segments, published layouts, and their rendering to token ids."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
