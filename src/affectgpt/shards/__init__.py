"""The shard format: WebDataset tars with an index; packing, writing, reading, fetching and checking them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
