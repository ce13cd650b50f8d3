"""Fetches files from a web server, an object store or the Hugging Face hub, and resumes after a broken connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file
from affectgpt.web import Pace, Patience, TryAgainError, again, open_client, refusal, requested, without_secrets

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
"""Scheme of a URL to the package that reads it; extras named after the scheme install the first ones."""

RESTART = b"restart"
"""Signals that the server starts the file again, so that the bytes so far must be discarded."""


def is_remote(location: str | Path) -> bool:
    """Whether a location is a URL.

    Examples:
        >>> is_remote("https://host/set"), is_remote("/data/set")
        (True, False)
    """
    return "://" in str(location)


def join_url(folder: str, name: str) -> str:
    """URL of a file in a folder; a query after ``?`` stays at the end.

    Examples:
        >>> join_url("https://host/set/?token=x", "index.json")
        'https://host/set/index.json?token=x'
    """
    base, mark, query = folder.partition("?")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


def fetch_bytes(url: str, most_bytes: int, patience: Patience | None = None) -> bytes:
    """Read a small file.

    Args:
        url: Its URL.
        most_bytes: Largest size; a larger file is refused as soon as its size is known.
        patience: How long to try.

    Raises:
        ConfigError: If nothing here reads such a URL.
        DataError: If the file does not exist, is larger, or could not be fetched in time.
    """
    patience = patience or Patience()
    content = bytearray()

    def attempt() -> None:
        content.clear()
        for piece in _pieces(url, 0, patience):
            content.extend(piece)
            if len(content) > most_bytes:
                raise DataError(
                    f"{without_secrets(url)} has more than {most_bytes:,} bytes, the most that such a file may have"
                )

    _try(url, attempt, lambda: 0, patience)
    return bytes(content)


def fetch_file(url: str, path: Path, num_bytes: int, sha256: str, patience: Patience | None = None) -> None:
    """Read a file of known size and digest into ``path``.

    If ``path`` has the beginning of the file from an earlier attempt, only the rest is requested. No more than
    ``num_bytes`` are ever written.

    Raises:
        ConfigError: If nothing here reads such a URL.
        DataError: If the file does not exist, has another size or content, or could not be fetched in time, or ``path``
            cannot be written.
    """
    patience = patience or Patience()

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    def attempt() -> None:
        if size() >= num_bytes:  # an earlier process fetched all of it
            return
        try:
            file = path.open("ab")
        except OSError as error:
            raise _unwritable(path, error) from error
        with file:
            _append(file, path, url, num_bytes, patience)

    for last in (False, True):
        _try(url, attempt, size, patience)
        found, got = digest_of_file(path), size()
        if (got, found) == (num_bytes, sha256):
            return
        path.unlink()
        shown = without_secrets(url)
        log.warning("%s: fetched %d bytes with sha256 %s, not %d with %s", shown, got, found, num_bytes, sha256)
        if last:
            raise DataError(
                f"{shown} has sha256 {found} ({got} bytes), but the index says {sha256} ({num_bytes} bytes), twice: it "
                "is another file, or is changed in transit; upload the shards and their index.json again, together"
            )


def _append(file: BinaryIO, path: Path, url: str, num_bytes: int, patience: Patience) -> None:
    start = file.tell()
    for piece in _pieces(url, start, patience, num_bytes):
        if piece is RESTART:
            file.truncate(0)
            start = 0
            continue
        start += len(piece)
        if start > num_bytes:
            file.truncate(0)
            raise DataError(
                f"{without_secrets(url)} is longer than the {num_bytes} bytes that the index says: it is another file; "
                "upload the shards and their index.json again, together"
            )
        try:
            file.write(piece)
            file.flush()  # a full disk raises here, and is not mistaken for a failure of the server
        except OSError as error:
            raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{str(path)!r} cannot be written: {error}; free some space, or move the cache")


def _try(url: str, attempt: Callable[[], None], progress: Callable[[], int], patience: Patience) -> None:
    """Call ``attempt`` until it succeeds; see ``again``."""

    def named() -> None:
        try:
            attempt()
        except OSError as error:
            raise TryAgainError(without_secrets(str(error) or type(error).__name__)) from error

    try:
        again(named, patience, progress)
    except TryAgainError as error:
        raise DataError(
            f"{without_secrets(url)} could not be fetched: {patience.attempts} attempts made no progress; the last "
            f"error: {error}. Check the network and the server, then resume the run"
        ) from error


def _pieces(url: str, start: int, patience: Patience, num_bytes: int | None = None) -> Iterator[bytes]:
    """The content from byte ``start`` on, in pieces; ``RESTART`` comes first if the server sends the whole file."""
    web = url.partition("://")[0] in ("http", "https")
    opened = _open_web(url, start, patience) if web else _open_filesystem(url, start)
    first, total = start, None
    try:
        with opened as (pieces, first, total):
            if num_bytes is not None and total not in (None, num_bytes):
                raise DataError(
                    f"{without_secrets(url)} has {total} bytes, but the index says {num_bytes}: it is cut, or another "
                    "file: upload the shards and their index.json again, together"
                )
            if first < start:
                yield RESTART
            pace = Pace(patience)
            for piece in pieces:
                first += len(piece)
                pace.add(len(piece))
                yield piece
            if total is not None and first < total:
                raise TryAgainError("the connection ended")
    except TryAgainError as error:
        if total is None:
            raise
        raise TryAgainError(f"{error} after {first} of {total} bytes", stalled=error.stalled) from error


Opened = tuple[Iterator[bytes], int, int | None]
"""The content, the offset at which it begins, and the size of the whole file if known."""


@contextmanager
def _open_web(url: str, start: int, patience: Patience) -> Iterator[Opened]:
    headers = {"Range": f"bytes={start}-"} if start else {}
    with open_client(patience.timeout_seconds, headers) as client, requested(client, "GET", url) as response:
        if not response.is_success:
            busy = refusal(response)
            said = f"the server answers {response.status_code} {response.reason_phrase}"
            if busy is not None or response.status_code == 416:
                raise TryAgainError(said, None if busy is None else busy.wait_seconds)
            raise DataError(
                f"{without_secrets(url)}: {said}; check the URL and your access, and that every file in index.json "
                "was uploaded"
            )
        first = start if response.status_code == 206 else 0  # with any other status it sends the whole file
        length = response.headers.get("Content-Length", "")
        yield response.iter_raw(), first, first + int(length) if length.isascii() and length.isdigit() else None


@contextmanager
def _open_filesystem(url: str, start: int) -> Iterator[Opened]:
    import fsspec

    scheme, shown = url.partition("://")[0], without_secrets(url)
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(scheme, "a package of its own")
        remedy = f"pip install 'affectgpt[{scheme}]'" if scheme in ("s3", "gs") else f"install {package}"
        raise ConfigError(f"{shown}: {scheme}:// needs {package}, which is not installed; {remedy}") from error
    except ValueError as error:
        message = f"{shown}: {scheme}:// is not supported; give a local folder, or an https, s3, gs or hf URL"
        raise ConfigError(message) from error
    try:
        size = int(files.size(path))
        file = files.open(path, "rb")
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(
            f"{shown} cannot be opened ({without_secrets(str(error))}); check the address and your access, and that "
            "every file in index.json was uploaded"
        ) from error
    except OSError:
        raise
    except Exception as error:  # errors of third-party file systems, for example for missing credentials
        raise DataError(f"{shown} cannot be opened ({type(error).__name__}: {without_secrets(str(error))})") from error
    with file:
        file.seek(start)
        yield iter(lambda: file.read(CHUNK_BYTES), b""), start, size
