"""The Lightning datamodules of MER-Caption and MER-UniBench, and how clips become batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
