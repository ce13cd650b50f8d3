"""The model as a service: an HTTP API with dynamic batching, and a way to write answers on a vLLM server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
