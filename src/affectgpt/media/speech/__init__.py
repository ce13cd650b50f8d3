"""Finds where somebody speaks, and writes down what is said.

Recognisers are in the registry ``affectgpt.registry.ASRS``; ``transcribe_clip`` uses one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
