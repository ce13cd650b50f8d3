"""MER-UniBench inside other people's evaluation harnesses: Inspect and lmms-eval."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
