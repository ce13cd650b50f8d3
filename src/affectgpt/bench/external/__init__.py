"""Other benchmarks on which AffectGPT is listed: MIntRec, HitEmotion and EEmo-Bench."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
