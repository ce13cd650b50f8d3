"""The inputs of a clip that streams read: how each becomes a tensor, and the tensors of several clips a batch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
