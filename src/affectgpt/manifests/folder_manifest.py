"""Finds the manifest in a folder of clips."""

from __future__ import annotations

from collections.abc import Collection, Set
from pathlib import Path

from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.files import parse_json
from affectgpt.manifests.folder_walk import FolderWalk

_NAME = "manifest"
_FIRST_LINE_BYTES = 2**20


def find_manifest(walk: FolderWalk, suffixes: Collection[str], sources: Collection[str] = ()) -> Path | None:
    """The manifest in a folder, relative to it; ``None`` if there is none.

    A file is a manifest if it is called ``manifest``, or if its first line has ``name`` and ``video``, ``audio`` or the
    name of a source.
    Files in the folder itself take precedence over those in subfolders, and a file called ``manifest`` over others.

    Args:
        walk: The files of the folder.
        suffixes: The suffixes that a manifest may have, such as ``.jsonl``.
        sources: Names of sources from plug-ins.

    Raises:
        ConfigError: If there are several, and none takes precedence.
    """
    found = [
        path
        for path in walk.files
        if path.suffix.lower() in suffixes
        and (path.stem.lower() == _NAME or _names_media(walk.folder / path, {*sources}))
    ]
    for choice in (
        [path for path in found if len(path.parts) == 1 and path.stem.lower() == _NAME],
        [path for path in found if len(path.parts) == 1],
        found,
    ):
        if len(choice) == 1:
            return choice[0]
        if choice:
            listed = first_few(str(walk.folder / path) for path in choice)
            raise ConfigError(
                f"{str(walk.folder)!r} has {len(choice)} manifests: {listed}; give the path of one of them"
            )
    return None


def _names_media(path: Path, sources: Set[str]) -> bool:
    """Whether the first line of a file has the keys of a manifest."""
    try:
        with path.open("rb") as file:
            line = file.readline(_FIRST_LINE_BYTES).decode("utf-8-sig", "replace").strip()
    except OSError:
        return False
    keys: set[str] = set()
    if path.suffix.lower() == ".jsonl":
        try:
            entry = parse_json(line, str(path))
        except DataError:
            return False
        keys = set(entry) if isinstance(entry, dict) else set()
    elif path.suffix.lower() in (".csv", ".tsv"):
        keys = {cell.strip().strip('"') for cell in line.split("\t" if path.suffix.lower() == ".tsv" else ",")}
    return "name" in keys and bool(keys & {"video", "audio", *sources})
