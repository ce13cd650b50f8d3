"""Language-model heads: any Hugging Face causal LM with LoRA, a packaged small one, and a tiny one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
