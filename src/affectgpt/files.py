"""Files and folders: written whole or not at all, digested, and kept between runs."""

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
    """A temporary file in the same folder, which becomes the file when the block ends without an error.

    The file gets the mode that the process's umask gives to new files.

    Args:
        path: File to write or replace; its folder is made if it is missing.
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
        Path(name).chmod(new_file_mode())  # a temporary file is its owner's alone
        Path(name).replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) and error.filename is None:
            error.filename = str(path)  # a write that meets a full disk does not name its file
        raise
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def draft_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, which takes its place when the block ends without an error.

    The folder gets the mode that the process's umask gives to new folders; a folder that stands at ``path`` gives way.

    Args:
        path: Folder to make or replace; the folder that holds it is made if it is missing.
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
    """Give a finished folder its name; one that has the name already steps aside first, and is removed at the end.

    Args:
        new: The finished folder, on the same file system.
        path: The name that it gets.
        hidden: Where the old folder lies in between; a kill there leaves it whole, for ``restore_folder``.
    """
    if path.exists():
        path.rename(hidden)
    new.rename(path)
    shutil.rmtree(hidden, ignore_errors=True)


def restore_folder(path: Path, hidden: Path) -> None:
    """Mend what a kill in the middle of ``replace_folder`` left: the old folder returns, unless the new one stands."""
    if not hidden.exists():
        return
    if path.exists():
        shutil.rmtree(hidden)
    else:
        hidden.rename(path)


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


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON.

    Args:
        text: What to parse; bytes are UTF-8, with or without a byte order mark.
        where: The file, or the file and line, for messages.

    Raises:
        DataError: If it is no JSON, or is nested too deep, or holds a number that is too long.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        raise DataError(f"{where} is nested too deep to be read as JSON") from None
    except ValueError as error:  # wider than JSONDecodeError: also other encodings and numbers of thousands of digits
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
    """The mode that the process's umask gives to new files, for those that are made with another one."""
    return 0o666 & ~_umask()


def read_json(path: str | Path, *, most_bytes: int) -> Any:
    """Read a file of JSON; see ``parse_json``.

    Args:
        path: The file.
        most_bytes: The largest file that is read.

    Raises:
        DataError: If it cannot be read, is larger, or is no JSON.
    """
    try:
        size = Path(path).stat().st_size
        if size > most_bytes:
            raise DataError(f"{path} has {size} bytes, and at most {most_bytes} are read of such a file")
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
    # elsewhere it can only be read by setting it, so that another thread may see the strict one for a moment
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
