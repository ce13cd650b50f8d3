"""A small corpus of drawn faces with synthesised voices, made on the spot: synthetic, for demonstrations and tests."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
