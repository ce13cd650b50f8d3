"""Explains in one line what is wrong with a key or a value of a configuration, and what is allowed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib import import_module

from affectgpt.errors import did_you_mean

MAX_NAMES = 24

_UNKNOWN = re.compile(r"unrecognized arguments: --(\S+)|does not accept option '([^']+)'")
_UNKNOWN_FIELD = re.compile(
    r"Parser key \"([^\"]+)\".*class_path '([\w.]+)': Option '([^']+)' is not accepted", re.DOTALL
)
_BAD_VALUE = re.compile(r"Parser key \"([^\"]+)\": Does not validate.*Given value: (.*)$", re.DOTALL)


def explain(error: str, known: Iterable[str]) -> str:
    """Turn an error of jsonargparse into a readable message.

    Args:
        error: The message of jsonargparse.
        known: Every key of the configuration, with dots.

    Examples:
        >>> explain("unrecognized arguments: --model.llmm x", ["model.llm", "model.style"])
        "unknown key 'model.llmm'. Did you mean 'model.llm'? model takes: llm, style"
    """
    text = " ".join(error.partition("\nusage:")[0].split())
    if found := _UNKNOWN_FIELD.search(text):
        key, path, name = found.groups()
        names = _arguments(path)
        return f"{key} has no {name!r}.{did_you_mean(name, names)} It takes: {', '.join(names)}"
    if found := _UNKNOWN.search(text):
        return _unknown_key((found.group(1) or found.group(2)).partition("=")[0], list(known))
    if found := _BAD_VALUE.search(text):
        key, value = found.groups()
        choices = [word for group in re.findall(r"Literal\[([^\]]*)\]", text) for word in group.split(", ")]
        choices = list(dict.fromkeys(word.strip("'") for word in choices))
        types = re.findall(r"Expected an? <class '([\w.]+)'>", text)
        expected = choices or ["nothing" if name == "NoneType" else name for name in dict.fromkeys(types)]
        return f"{key} is {value.strip()!r}.{did_you_mean(value.strip(), choices)} Expected: {', '.join(expected)}"
    return text


def _unknown_key(key: str, known: list[str]) -> str:
    parts = key.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        start = ".".join(parts[:depth])
        names = [
            name.removeprefix(f"{start}.") if start else name
            for name in known
            if not start or name.startswith(f"{start}.")
        ]
        names = list(dict.fromkeys(name.partition(".")[0] for name in names))
        if names:
            break
    near = did_you_mean(key, [f"{start}.{name}" if start else name for name in names])
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"unknown key {key!r}.{near} {start or 'a configuration'} takes: {', '.join(names[:MAX_NAMES])}{more}"


def _arguments(path: str) -> list[str]:
    module, _, name = path.rpartition(".")
    return list(inspect.signature(getattr(import_module(module), name)).parameters)
