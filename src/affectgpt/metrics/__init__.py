"""Metrics for free-form emotion answers: the wheel vocabulary, pure functions and torchmetrics classes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
