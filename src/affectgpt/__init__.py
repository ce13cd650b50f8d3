"""Multimodal emotion understanding: encoders, pre-fusion, LLM, data and metrics that compose by name.

Importing the package is cheap: public names, and torch with them, are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
