"""Runs frozen encoders once over shards, and feeds models from the stored features."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
