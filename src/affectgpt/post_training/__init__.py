"""What comes after supervised training: learning from rewards, preferences, and what a clip says as a whole."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
