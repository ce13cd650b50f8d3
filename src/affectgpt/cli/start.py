"""Lays the model arguments of a command line over those of a stored model, which the parser does not see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from affectgpt.errors import ConfigError

_BARE = {"media": "profile"}
"""Arguments that may be a bare name, with the key of that name; for registered modules it is ``name``."""


def take_model(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Extract the model's arguments from a command line.

    Args:
        argv: Arguments of one of Lightning's verbs.

    Returns:
        The command line without them, with configuration files as text; and the arguments, in which later ones win.

    Raises:
        ConfigError: If a file cannot be read, or ``--model`` is given as a whole.
    """
    rest: list[str] = []
    model: dict[str, Any] = {}
    pieces = list(argv)
    while pieces:
        flag, joined, value = pieces.pop(0).partition("=")
        if flag == "--model":
            raise ConfigError("with --start, change single arguments of the model, such as --model.optim.lr 1e-4")
        if not flag.startswith("--model.") and flag not in ("--config", "-c"):
            rest.append(flag + joined + value)
            continue
        if not joined:
            if not pieces:
                raise ConfigError(f"{flag} needs a value")
            value = pieces.pop(0)
        if flag.startswith("--model."):
            model = lay_over(model, _nested(flag.removeprefix("--model.").split("."), _value(value)))
        else:
            content = _read(value)
            given = content.pop("model", None) or {}
            if not isinstance(given, Mapping):
                raise ConfigError(f"{value}: 'model' is {given!r}, expected the model's arguments")
            model = lay_over(model, given)
            rest += ["--config", yaml.safe_dump(content, sort_keys=False)]
    return rest, model


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Lay model arguments over others, key by key.

    A registered module with another name keeps none of the arguments of the module that it replaces.

    Args:
        below: The arguments.
        above: The arguments that win.
        path: The path of both in the model's arguments.

    Examples:
        >>> lay_over({"llm": {"name": "tiny", "args": {"dim": 8}}}, {"llm": {"args": {"heads": 1}}})
        {'llm': {'name': 'tiny', 'args': {'dim': 8, 'heads': 1}}}
        >>> lay_over({"llm": {"name": "causal-lm", "args": {"path": "lm"}}}, {"llm": "tiny"})
        {'llm': {'name': 'tiny'}}
    """
    merged = dict(below)
    for key, value in above.items():
        here = (*path, key)
        old, new = _spelt_out(merged.get(key), here), _spelt_out(value, here)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if "name" in new and "name" in old and new["name"] != old["name"]:
                old = {}
            merged[key] = lay_over(old, new, here)
        else:
            merged[key] = value
    return merged


def _spelt_out(value: Any, path: tuple[str, ...]) -> Any:
    """The mapping that a bare name stands for."""
    if not isinstance(value, str):
        return value
    if len(path) == 1 and path[0] in _BARE:
        return {_BARE[path[0]]: value}
    if path[0] == "streams" and len(path) == 2:
        return {"encoder": {"name": value}}
    is_part = path in (("llm",), ("prefusion",), ("projector",)) or (
        path[0] == "streams" and len(path) == 3 and path[2] in ("encoder", "pooling")
    )
    return {"name": value} if is_part else value


def _nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(names):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _value(text: str) -> Any:
    """The value of a flag, as JSON, else as YAML, which reads ``1e-4`` as a word."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _read(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}, not the settings of a run")
    return content
