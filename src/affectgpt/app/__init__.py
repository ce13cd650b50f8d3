"""Local web pages: answer clips and films, compare two models, take corrections, and review an annotated set."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
