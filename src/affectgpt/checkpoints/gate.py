"""Checks the arguments of every stored model: they must be plain data, and name neither code nor locations to read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from affectgpt.errors import CheckpointError

MAX_DEPTH = 32
"""Deepest nesting of stored arguments; those of real models are nested five deep."""

_EXECUTED = frozenset({"class_path", "init_args", "dict_kwargs", "_instantiator", "_class_path"})
"""Keys that configuration parsers and Lightning read as an instruction to import and call something."""

_PART_ARGUMENTS = ("streams", "prefusion", "projector", "llm")
"""Arguments whose names are looked up in a registry."""

_CODE = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
"""``package.module:attribute``, as a registry imports it."""

_PART = re.compile(r"(prefusion|projector|llm|streams\.[^.]+(\.(encoder|pooling))?)(\.name)?")
"""Paths of the names of the model's own parts in its arguments: bare, or as ``name``."""

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[\\/]{2}")
"""Prefixes of URLs and network shares."""


def pass_gate(config: Any, source: object, *, allow_import: bool) -> dict[str, Any]:
    """Check that the arguments of a stored model are plain data.

    All code that reads arguments from a checkpoint, a folder or the hub calls this before anything is built.

    Args:
        config: The stored arguments.
        source: Where they are stored, for messages.
        allow_import: Whether the caller trusts the source: parts may then be named as code
            (``package.module:attribute``), and URLs and feature folders may be named.

    Returns:
        A copy of the arguments, as plain JSON.

    Raises:
        CheckpointError: If they are not plain JSON or are nested too deeply, if they contain an instruction to import
            (``class_path`` and similar keys, at any depth, which ``allow_import`` does not permit), or if they name
            code or a location that would be read.
    """
    if not isinstance(config, Mapping):
        raise CheckpointError(f"{source}: the model's arguments are a {type(config).__name__}, not a mapping")
    plain: dict[str, Any] = _plain(config, source, "", MAX_DEPTH)
    if "allow_import" in plain:
        raise CheckpointError(f"{source} sets allow_import itself, which only the caller may do; do not use it")
    if allow_import:
        return plain
    if plain.get("features") is not None:
        raise CheckpointError(
            f"{source} names feature shards to read, features={plain['features']!r}; {_remedy('leave it out')}"
        )
    for name in _PART_ARGUMENTS:
        for key_path, text in _strings(plain.get(name), name):
            if _CODE.fullmatch(text) or (":" in text and _PART.fullmatch(key_path)):
                raise CheckpointError(
                    f"{source} names code to import, {text!r}, as one of its parts ({key_path}); "
                    f"{_remedy('use a registered part')}"
                )
    for name, value in plain.items():
        for key_path, text in _strings(value, name) if name != "official" else ():
            if _REMOTE.match(text):
                raise CheckpointError(
                    f"{source} names a location to read from, {text!r} ({key_path}); {_remedy('give your own')}"
                )
    return plain


def _plain(value: Any, source: object, key_path: str, depth: int) -> Any:
    """A copy of a value, if it is JSON and has no key that is an instruction."""
    if depth == 0:
        raise CheckpointError(f"{source}: the model's arguments are nested too deeply ({key_path[:80]}...)")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(inner, source, f"{key_path}[{index}]", depth - 1) for index, inner in enumerate(value)]
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{source}: {key_path} is a {type(value).__name__}, which is not plain JSON")
    copied: dict[str, Any] = {}
    for key, inner in value.items():
        inside = f"{key_path}.{key}" if key_path else str(key)
        if not isinstance(key, str):
            raise CheckpointError(f"{source}: {inside} has a key that is a {type(key).__name__}, not a name")
        if key in _EXECUTED:
            raise CheckpointError(
                f"{source}: {inside} is an instruction to import and call something; models of this library never have "
                "one, so do not use this file"
            )
        copied[key] = _plain(inner, source, inside, depth - 1)
    return copied


def _strings(value: Any, key_path: str) -> Iterator[tuple[str, str]]:
    """Every text in a plain value, with its path."""
    if isinstance(value, str):
        yield key_path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{key_path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{key_path}[{index}]")


def _remedy(otherwise: str) -> str:
    return f"pass allow_import=True (--allow-import) if you trust its source, or {otherwise}"
