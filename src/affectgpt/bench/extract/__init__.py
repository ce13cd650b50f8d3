"""From free text to labels, and from labels to a sentiment: readers that are chosen by name."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
