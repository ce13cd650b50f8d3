"""The test sets of MER-UniBench: reading them from disk, and their datamodule."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
