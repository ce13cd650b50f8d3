"""Asking a chat model: behind a server or in this process, with the answers kept on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
