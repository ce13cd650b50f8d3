"""The wheel vocabularies: built in, and compiled from the word tables of the AffectGPT authors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
