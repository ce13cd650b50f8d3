"""Films of any length: cut into utterances, with the people in them, and each answered with how sure the model is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
