"""Reads the arguments of a model: from the YAML file of a run, or from a stored model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectgpt.checkpoints import model_folder
from affectgpt.checkpoints.io import load_checkpoint
from affectgpt.checkpoints.plugins import check_installed
from affectgpt.checkpoints.storable import only_our_errors
from affectgpt.checkpoints.training_file import is_file, plugin_notes
from affectgpt.errors import ConfigError, did_you_mean


def read_config(config: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    """Read a model's arguments from a mapping, or from a YAML file that has them at the top or under ``model``.

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
        raise ConfigError(f"{path} has a {type(saved).__name__}, not a mapping of the model's arguments")
    inner = saved.get("model", saved)
    return inner if isinstance(inner, Mapping) else saved


def check_arguments(cls: type, config: Mapping[str, Any]) -> None:
    """Refuse arguments that a model does not take.

    Raises:
        ConfigError: If a name is unknown.
    """
    known = list(inspect.signature(cls).parameters)
    for name in config:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{cls.__name__} takes no argument {name!r}.{hint} It takes: {', '.join(known)}")


def stored_config(source: str | Path, *, allow_import: bool = False) -> dict[str, Any]:
    """The model's arguments in a ``.ckpt`` file, a saved folder, or a model on the hub.

    Raises:
        CheckpointError: If it cannot be read, the arguments do not pass the gate, or a plug-in part that cannot be
            replaced is not installed.
    """
    config: dict[str, Any]
    if is_file(source):
        checkpoint = load_checkpoint(source, allow_import=allow_import)
        config, plugins = checkpoint["hyper_parameters"], plugin_notes(checkpoint)
    else:
        stored = model_folder.read(source, None, {}, allow_import=allow_import)
        config, plugins = stored.config, stored.plugins
    with only_our_errors(source):
        check_installed(plugins, config, source, replaceable=True)
    return config
