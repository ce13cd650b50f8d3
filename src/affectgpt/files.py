"""Writes a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write under a temporary name in the same folder, then rename, so that no half-written file is ever seen.

    Args:
        path: File to write or replace; its folder is made if it is missing.
        content: Bytes, or text that is written as UTF-8.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        Path(draft).chmod(0o644)  # a temporary file is its owner's alone
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines of text, each with a line break; see ``write_whole``."""
    write_whole(path, "".join(f"{line}\n" for line in lines))
