"""Combining the answers of several systems by vote, and what stands beside such a score."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
