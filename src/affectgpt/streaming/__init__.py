"""The order of an epoch, and the stream of clips in this order, which resumes exactly."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
