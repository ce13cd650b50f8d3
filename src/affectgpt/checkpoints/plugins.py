"""The distributions that a stored model's plug-in parts come from: noted beside it, and compared before it is built."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from affectgpt.encoders.streams import StreamSpec
from affectgpt.errors import CheckpointError, first_few
from affectgpt.registry import ENCODERS, LLMS, POOLINGS, PREFUSIONS, PROJECTORS, SOURCES, Registry, Spec

log = logging.getLogger(__name__)

_REGISTRIES: Mapping[str, Registry[Any]] = {
    registry.kind: registry for registry in (SOURCES, ENCODERS, POOLINGS, PREFUSIONS, PROJECTORS, LLMS)
}
_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99} [A-Za-z0-9][A-Za-z0-9.+!_-]{0,99}")
"""Name and version, with the characters that Python's packaging standards allow: a note goes into a shell command."""
_MOST_NOTES = 1000


def plugins_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The distribution of every plug-in part, such as ``{"encoder my-face": "face-plugin 2.5"}``.

    Args:
        config: Arguments of a model; those of a classifier have no ``llm`` and no ``projector``.
    """
    found = {(kind, name): _REGISTRIES[kind].distribution_of(name) for kind, name in _parts(config)}
    return {f"{kind} {name}": " ".join(owner) for (kind, name), owner in found.items() if owner is not None}


def check_installed(
    notes: Any, config: Mapping[str, Any], source: object, *, kinds: Collection[str] = (), replaceable: bool = False
) -> None:
    """See that every plug-in part of a stored model is installed.

    Args:
        notes: What ``plugins_of`` gave when the model was stored.
        config: The model's arguments.
        source: Where it is stored, for messages.
        kinds: Kinds of parts that are about to be built; all, by default.
        replaceable: Whether the language model and the projectors may be replaced: they are then announced only.

    Raises:
        CheckpointError: If one is not; it names the distribution and the version to install. Or if the notes are not
            what ``plugins_of`` gives.
    """
    missing = {
        (kind, name): owner
        for kind, name, owner in _noted(notes, config, source)
        if (not kinds or kind in kinds) and not _is_offered(_REGISTRIES[kind], name)
    }
    optional = {part: owner for part, owner in missing.items() if replaceable and part[0] in ("LLM", "projector")}
    needed = {part: owner for part, owner in missing.items() if part not in optional}
    if needed:
        raise CheckpointError(f"{source}: {_remedy(needed)}")
    if optional:
        log.warning("%s: %s, or replace the part", source, _remedy(optional))


def announce_versions(notes: Any, config: Mapping[str, Any], source: object, *, kinds: Collection[str] = ()) -> None:
    """Say in one line for each distribution where parts come from another one, or another version, than they did.

    Args:
        notes: See ``check_installed``, as for the others.
        config: The model's arguments.
        source: Where it is stored.
        kinds: Kinds of parts that are built.

    Raises:
        CheckpointError: If the notes are not what ``plugins_of`` gives.
    """
    changed: dict[tuple[str, str], list[str]] = defaultdict(list)
    here = plugins_of(config)
    for kind, name, then in _noted(notes, config, source):
        now = here.get(f"{kind} {name}", "no installed plug-in")
        if (not kinds or kind in kinds) and now != then:
            changed[then, now].append(f"{kind} {name[:80]!r}")
    for (then, now), parts in changed.items():
        log.warning("%s: %s came from %s when the model was stored, here from %s", source, ", ".join(parts), then, now)


def _noted(notes: Any, config: Mapping[str, Any], source: object) -> Iterator[tuple[str, str, str]]:
    """Kind, name and noted distribution of the parts in a configuration that have one."""
    if not isinstance(notes, Mapping) or len(notes) > _MOST_NOTES:
        raise CheckpointError(f"{source}: its note of plug-ins is a {type(notes).__name__}; {_WRONG}")
    for part, owner in notes.items():
        if not isinstance(part, str) or not isinstance(owner, str) or not _DISTRIBUTION.fullmatch(owner):
            raise CheckpointError(
                f"{source}: its note of plug-ins has {str(part)[:80]!r}: {str(owner)[:80]!r}; {_WRONG}"
            )
    for kind, name in _parts(config) if notes else ():
        if f"{kind} {name}" in notes:
            yield kind, name, notes[f"{kind} {name}"]


_WRONG = 'expected a mapping such as {"encoder my-face": "face-plugin 2.5"}; the file was changed after it was stored'


def _parts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and name of every part that a configuration names, each once."""
    given = config.get("streams", {})
    # not by read_streams, which refuses the source of a plug-in that is not installed
    specs = {name: StreamSpec.of(value) for name, value in given.items()} if isinstance(given, Mapping) else {}
    named: list[tuple[str, Any]] = [("source", spec.source or name) for name, spec in specs.items()]
    named += [("encoder", spec.encoder) for spec in specs.values()]
    named += [("pooling", spec.pooling) for spec in specs.values()]
    named += [(kind, config[key]) for kind, key in _KEYS.items() if config.get(key) is not None]
    yield from dict.fromkeys((kind, Spec.of(spec).name) for kind, spec in named)


_KEYS = {"pre-fusion": "prefusion", "projector": "projector", "LLM": "llm"}


def _is_offered(registry: Registry[Any], name: str) -> bool:
    package, is_code, _ = name.partition(":")
    return name in registry or bool(is_code and find_spec(package.partition(".")[0]) is not None)


def _remedy(missing: Mapping[tuple[str, str], str]) -> str:
    owners = list(dict.fromkeys(missing.values()))
    parts = first_few([f"{kind} {name[:80]}" for kind, name in missing])
    pins = " ".join(f"'{owner.replace(' ', '==')}'" for owner in owners)
    return (
        f"it needs {parts}, which is not installed here: if you trust whoever stored the model, install "
        f"{' and '.join(owners)} (pip install {pins})"
    )
