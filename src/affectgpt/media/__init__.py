"""Decodes clips: from the bytes of a file to frames and a waveform."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
