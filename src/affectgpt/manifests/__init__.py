"""Reads manifests into records: JSON lines, tables, bare folders of clips, and published layouts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
