"""Open a zip archive after judging what its members unpack to: a few kilobytes can hold gigabytes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from affectgpt.errors import DataError


@contextmanager
def open_zip(path: Path, limit_of: Callable[[str], int], limit: int) -> Iterator[zipfile.ZipFile]:
    """The archive, whose members unpack to no more than they may.

    What the directory of a zip file declares is also what ``zipfile`` reads at most, so a false size is an error later.

    Args:
        path: The file.
        limit_of: The most bytes that a member of that name may have.
        limit: The most bytes that all members may have together.

    Raises:
        DataError: If it is more.
        OSError: If the file cannot be read.
        zipfile.BadZipFile: If it is no zip archive.
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
