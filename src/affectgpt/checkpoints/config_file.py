"""Reads the arguments of a model from the YAML file of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectgpt.errors import ConfigError


def read_config(config: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    """The model's arguments: those given, or in a YAML file that holds them alone, or under ``model``.

    Raises:
        ConfigError: If the file cannot be read.
    """
    if isinstance(config, Mapping):
        return config
    import yaml

    path = Path(config)
    try:
        saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(saved, Mapping):
        raise ConfigError(f"{path} holds a {type(saved).__name__}, not a mapping of the model's arguments")
    inner = saved.get("model", saved)
    return inner if isinstance(inner, Mapping) else saved
