"""Raw clips in, a described, labelled and filtered data set out: the engine that MER-Caption was made with."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
