"""A local web page: answers clips and films, shows what the model saw, compares two models, and takes corrections."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
