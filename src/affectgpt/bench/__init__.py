"""MER-UniBench: its nine test sets, answered and scored, and the scoring of prediction files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
