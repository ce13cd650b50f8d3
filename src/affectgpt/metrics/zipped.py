"""Opens a zip archive after checking the unpacked size of its members: a few kilobytes can unpack to gigabytes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from affectgpt.errors import DataError


@contextmanager
def open_zip(path: Path, limit_of: Callable[[str], int], limit: int) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members unpack to no more than the limits.

    ``zipfile`` reads no more than the directory of the archive declares, so a false size raises an error later.

    Args:
        path: The file.
        limit_of: Most bytes that a member of that name may unpack to.
        limit: Most bytes that all members may unpack to together.

    Raises:
        DataError: If a member or the whole archive is larger.
        OSError: If the file cannot be read.
        zipfile.BadZipFile: If it is not a zip archive.
    """
    with zipfile.ZipFile(path) as archive:
        total = 0
        for member in archive.infolist():
            total += member.file_size
            most = limit_of(member.filename)
            if member.file_size > most:
                raise DataError(
                    f"{member.filename!r} unpacks to {member.file_size:,} bytes, and at most {most:,} are read"
                )
        if total > limit:
            raise DataError(f"it unpacks to {total:,} bytes, and at most {limit:,} are read")
        yield archive
