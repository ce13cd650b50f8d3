"""Writes the model card of a stored model: its parts, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def model_card(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Markdown with the parts of a model and the call that loads it.

    Args:
        config: The model's arguments.
        tensors: The stored tensors.
    """
    rows = [
        f"| {name} | {_shown(stream['encoder'])} | {_shown(stream['pooling'])} |"
        for name, stream in config["streams"].items()
    ]
    count = sum(tensor.numel() for tensor in tensors.values())
    origin = config.get("official") or {}
    came = f"\nConverted from a released checkpoint (epoch {origin['epoch']}, {origin['layout']}).\n" if origin else ""
    return f"""---
library_name: affectgpt
tags: [emotion-recognition, multimodal]
---

# AffectGPT model
{came}
| stream | encoder | pooling |
|---|---|---|
{chr(10).join(rows)}

Pre-fusion: {_shown(config["prefusion"])}. Language model: {_shown(config["llm"])}. Prompt: {config["style"]}.
Stored here: {count:,} weights; the frozen networks are read from the locations named above.

```python
from affectgpt import AffectGPT

model = AffectGPT.from_pretrained("this repository or folder")
print(model.predict("clip.mp4", subtitle="the spoken words").labels)
```
"""


def _shown(spec: Mapping[str, Any]) -> str:
    path = spec.get("args", {}).get("path")
    return f"`{spec['name']}`" + (f" ({path})" if path else "")
