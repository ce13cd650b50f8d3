"""Writes a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft(path: str | Path) -> Iterator[Path]:
    """A temporary file in the same folder, which becomes the file when the block ends without an error.

    Args:
        path: File to write or replace; its folder is made if it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(0o644)  # a temporary file is its owner's alone
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file whole or not at all, so that no half-written one is ever seen.

    Args:
        path: File to write or replace; its folder is made if it is missing.
        content: Bytes, or text that is written as UTF-8.
    """
    with draft(path) as file:
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines of text, each with a line break; see ``write_whole``."""
    write_whole(path, "".join(f"{line}\n" for line in lines))
