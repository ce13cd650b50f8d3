"""Lists the files below a folder, following links, and counts skipped files by reason."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from affectgpt.text import clean_text

HIDDEN = "hidden"
READ_ALREADY = "links to folders that were already read"
BROKEN_LINK = "broken links"
NO_FILE = "neither files nor folders"
_SHOWN = 3


@dataclass(frozen=True)
class FolderWalk:
    """The files below a folder.

    Attributes:
        folder: The folder.
        files: Files, relative to the folder, sorted.
        passed_over: Relative path of each skipped file to the reason.
    """

    folder: Path
    files: tuple[Path, ...]
    passed_over: Mapping[Path, str] = field(default_factory=dict)


def walk_folder(folder: Path) -> FolderWalk:
    """List all files below a folder.

    Links are followed. A folder is entered once, under its own path if that is below ``folder``, or else through the
    first link to it, so that loops of links end. Hidden files and folders are skipped.
    """
    files: list[Path] = []
    passed_over: dict[Path, str] = {}
    entered: set[tuple[int, int]] = set()
    pending = [folder]
    links: list[Path] = []
    while pending or links:
        visited = pending.pop(0) if pending else links.pop(0)
        inside = visited.relative_to(folder)
        try:
            status = visited.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in entered:
                passed_over[inside] = READ_ALREADY
                continue
            entered.add(identity)
            entries = sorted(os.scandir(visited), key=lambda entry: entry.name)
        except OSError as error:
            passed_over[inside] = f"cannot be opened: {error.strerror}"
            continue
        for entry in entries:
            path = inside / entry.name
            if entry.name.startswith("."):
                passed_over[path] = HIDDEN
            elif _is(entry, "dir"):
                (links if entry.is_symlink() else pending).append(visited / entry.name)
            elif _is(entry, "file"):
                files.append(path)
            else:
                passed_over[path] = BROKEN_LINK if entry.is_symlink() else NO_FILE
    return FolderWalk(folder, tuple(sorted(files)), dict(sorted(passed_over.items())))


def describe_unused(folder: Path, unused: Mapping[Path, str]) -> list[str]:
    """Describe unused files with one line per reason: their number, their suffixes, and the first names.

    Args:
        folder: The folder of the files.
        unused: Relative path to the reason.

    Examples:
        >>> describe_unused(Path("clips"), {Path("a.md"): "no clip", Path("b"): "no clip"})
        ["2 files in 'clips' were not used (no clip): 1 .md, 1 without suffix; such as 'a.md', 'b'"]
    """
    by_reason: dict[str, list[Path]] = defaultdict(list)
    for path, reason in unused.items():
        by_reason[reason].append(path)
    lines = []
    for reason, paths in by_reason.items():
        kinds = Counter(path.suffix.lower() or "without suffix" for path in paths)
        listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        names = ", ".join(repr(path.as_posix()) for path in paths[:_SHOWN]) + (" ..." if len(paths) > _SHOWN else "")
        one = len(paths) == 1
        lines.append(
            clean_text(
                f"{len(paths)} {'file' if one else 'files'} in {str(folder)!r} {'was' if one else 'were'} not used "
                f"({reason}): {listed}; such as {names}"
            )
        )
    return lines


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Whether an entry, or what it links to, is a folder (``dir``) or a regular file (``file``)."""
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:  # a link to itself
        return False
