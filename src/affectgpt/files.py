"""Writes files and folders whole or not at all, computes digests, and finds the cache folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from affectgpt.errors import ConfigError, DataError

_ATTEMPTS = 100
"""How often a folder is moved aside for a new one; each is in vain only if a reader comes between two renamings."""


def cache_folder() -> Path:
    """The folder that the environment variable ``AFFECTGPT_CACHE`` names, or the user's cache folder; it may not exist.

    Raises:
        ConfigError: If the variable is not set, and the user has no home folder.
    """
    named = os.environ.get("AFFECTGPT_CACHE")
    if named:
        return Path(named)
    try:
        return Path(platformdirs.user_cache_dir("affectgpt"))
    except RuntimeError as error:
        raise ConfigError(
            f"there is no home folder to keep a cache in ({error}); set AFFECTGPT_CACHE to a folder that can be written"
        ) from error


@contextmanager
def draft(path: str | Path) -> Iterator[Path]:
    """A temporary file in the same folder, which is renamed to ``path`` if the block ends without an error.

    The file gets the mode that the process's umask gives to new files.

    Args:
        path: File to write or replace; its folder is created if it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}-", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(new_file_mode())  # a temporary file is readable by its owner only
        Path(name).replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) and error.filename is None:
            error.filename = str(path)  # an error from a full disk does not name the file
        raise
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def draft_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, which is renamed to ``path`` if the block ends without an error.

    The folder gets the mode that the process's umask gives to new folders; an existing folder is replaced.

    Args:
        path: Folder to create or replace; its parent is created if it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}-", dir=path.parent))
    try:
        yield made
        made.chmod(0o777 & ~_umask())
        replace_folder(made, path, hidden=made.with_name(made.name + ".replaced"))
    finally:
        shutil.rmtree(made, ignore_errors=True)


def replace_folder(new: Path, path: Path, hidden: Path) -> None:
    """Give a finished folder its name; an existing folder of that name is moved aside first and removed at the end.

    Args:
        new: The finished folder, on the same file system.
        path: The name that it gets.
        hidden: Where the old folder is kept in between; a kill leaves it whole there, for ``restore_folder``.
    """
    for _ in range(_ATTEMPTS):
        if path.exists():
            path.rename(hidden)
        try:
            new.rename(path)
            break
        except OSError as error:  # a reader took this for a kill, and brought the old folder back
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    shutil.rmtree(hidden, ignore_errors=True)


def restore_folder(path: Path, hidden: Path) -> None:
    """Repair what a kill inside ``replace_folder`` left: bring the old folder back, unless the new one is in place.

    Any number of processes may do so at once, even while another one replaces the folder.
    """
    if path.exists():
        shutil.rmtree(hidden, ignore_errors=True)
    else:
        bring_back_folder(path, hidden)


def bring_back_folder(path: Path, hidden: Path) -> None:
    """The part of ``restore_folder`` that readers need, who must remove nothing: give the old folder its name back."""
    while hidden.exists() and not path.exists():
        try:
            hidden.rename(path)
        except OSError as error:  # another process was faster
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file whole or not at all, so that no half-written file is ever seen.

    Args:
        path: File to write or replace; its folder is created if it is missing.
        content: Bytes, or text that is written as UTF-8.
    """
    with draft(path) as file:
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines of text, each with a line break; see ``write_whole``."""
    write_whole(path, "".join(f"{line}\n" for line in lines))


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON.

    Args:
        text: What to parse; bytes are UTF-8, with or without a byte order mark.
        where: The file, or the file and line, for messages.

    Raises:
        DataError: If it is not JSON, is nested too deeply, or holds a number that is too long.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        raise DataError(f"{where} is nested too deeply to be read as JSON") from None
    except ValueError as error:  # includes JSONDecodeError, wrong encodings and numbers with thousands of digits
        raise DataError(f"{where} is not JSON: {error}") from error


def digest_of(data: Any) -> str:
    """Sha256 of plain JSON, in hex; the order of keys does not matter."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: str | Path) -> str:
    """Sha256 of a file's content, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_file_mode() -> int:
    """The mode that the process's umask gives to new files, for files that were created with another mode."""
    return 0o666 & ~_umask()


def read_json(path: str | Path, *, most_bytes: int) -> Any:
    """Read a file of JSON; see ``parse_json``.

    Args:
        path: The file.
        most_bytes: Size of the largest file that is read.

    Raises:
        DataError: If the file cannot be read, is larger, or is not JSON.
    """
    try:
        size = Path(path).stat().st_size
        if size > most_bytes:
            raise DataError(f"{path} has {size} bytes, but such a file may have at most {most_bytes}")
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return parse_json(content, str(path))


def _umask() -> int:
    """The process's umask."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        found = [line.split()[1] for line in lines if line.startswith("Umask:")]
        if found:
            return int(found[0], 8)
    # elsewhere it can only be read by setting it; other threads may see the strict value for a moment
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
