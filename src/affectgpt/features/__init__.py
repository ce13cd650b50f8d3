"""Frozen encoders run once over shards, and models fed from what they gave."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
