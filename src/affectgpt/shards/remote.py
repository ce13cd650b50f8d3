"""Fetches files from a web server, an object store or the Hugging Face hub; goes on where a connection broke off."""

from __future__ import annotations

import errno
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from affectgpt import __version__
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
"""Scheme of a URL to the package that reads it; those of the first three are extras of the scheme's name."""

_FINAL_STATUS = frozenset({400, 401, 403, 404, 405, 410, 451})


@dataclass(frozen=True)
class Patience:
    """How long a fetch is tried.

    Attributes:
        timeout_seconds: Longest wait for the server to answer, or to send more.
        attempts: Tries without any progress before it is given up.
        delay_seconds: Wait after the first failure; doubled after each further one, up to 30 s.
    """

    timeout_seconds: float = 30.0
    attempts: int = 6
    delay_seconds: float = 0.5


RESTART = b"restart"
"""Stands for: what was read so far is void, the server begins anew."""


class _BrokeOffError(Exception):
    """What went wrong may go right when tried again."""


def is_remote(place: str | Path) -> bool:
    """Whether a place is a URL.

    Examples:
        >>> is_remote("https://host/set"), is_remote("/data/set")
        (True, False)
    """
    return "://" in str(place)


def join_url(folder: str, name: str) -> str:
    """URL of a file in a folder; what comes after ``?`` stays at the end.

    Examples:
        >>> join_url("https://host/set/?token=x", "index.json")
        'https://host/set/index.json?token=x'
    """
    base, mark, query = folder.partition("?")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


def fetch_bytes(url: str, patience: Patience | None = None) -> bytes:
    """Read a small file.

    Raises:
        ConfigError: If nothing here reads such a URL.
        DataError: If it is not there, or was given up.
    """
    patience = patience or Patience()
    content = bytearray()

    def attempt() -> None:
        content.clear()
        content.extend(b"".join(piece for piece in _open(url, 0, None, patience) if piece is not RESTART))

    _try(url, attempt, lambda: 0, patience)
    return bytes(content)


def fetch_file(url: str, path: Path, num_bytes: int, sha256: str, patience: Patience | None = None) -> None:
    """Read a file of known size and digest into ``path``.

    What is in ``path`` already, of an attempt that broke off, is kept and the rest asked for.

    Raises:
        ConfigError: If nothing here reads such a URL.
        DataError: If it is not there, has another size or content, or was given up.
    """
    patience = patience or Patience()

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    def attempt() -> None:
        if size() >= num_bytes:  # an earlier process had it all
            return
        with path.open("ab") as file:
            for piece in _open(url, size(), num_bytes, patience):
                if piece is RESTART:
                    file.truncate(0)
                else:
                    file.write(piece)

    for again in (True, False):
        _try(url, attempt, size, patience)
        found, got = digest_of_file(path), size()
        if (got, found) == (num_bytes, sha256):
            return
        path.unlink()
        log.warning("%s: fetched %d bytes with sha256 %s, not %d with %s", url, got, found, num_bytes, sha256)
        if not again:
            raise DataError(
                f"{url} has sha256 {found} ({got} bytes), but the index says {sha256} ({num_bytes} bytes), twice: it "
                "is another file, or is changed on the way; upload the shards and their index.json again, together"
            )


def _try(url: str, attempt: Callable[[], None], progress: Callable[[], int], patience: Patience) -> None:
    """Call ``attempt`` until it does not fail; failures with ``progress`` in between do not add up."""
    failures = 0
    while True:
        before = progress()
        try:
            attempt()
            return
        except (_BrokeOffError, OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise  # our disk, not the server
            failures = 1 if progress() > before else failures + 1
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            if failures >= patience.attempts:
                raise DataError(
                    f"{url} was given up after {failures} attempts without progress; the last: {reason}. "
                    "Check the network and the server, then resume the run"
                ) from error
            delay = min(patience.delay_seconds * 2 ** (failures - 1), 30.0)
            log.warning("%s: %s; tried again in %.1f s", url, reason, delay)
            time.sleep(delay)


def _open(url: str, start: int, num_bytes: int | None, patience: Patience) -> Iterator[bytes]:
    """The content from byte ``start`` on, in pieces; ``RESTART`` first where the server gives all of it."""
    web = url.partition("://")[0] in ("http", "https")
    opened = _open_web(url, start, patience) if web else _open_filesystem(url, start)
    with opened as (read, first, total):
        if num_bytes is not None and total not in (None, num_bytes):
            raise DataError(
                f"{url} has {total} bytes, but the index says {num_bytes}: it is cut, or another file; upload the "
                "shards and their index.json again, together"
            )
        if first < start:
            yield RESTART
        while piece := read(CHUNK_BYTES):
            first += len(piece)
            yield piece
        if total is not None and first < total:
            raise _BrokeOffError(f"the connection ended after {first} of {total} bytes")


Opened = tuple[Callable[[int], bytes], int, int | None]
"""Reads the next bytes; where they begin; the size of the whole file, if known."""


@contextmanager
def _open_web(url: str, start: int, patience: Patience) -> Iterator[Opened]:
    headers = {"User-Agent": f"affectgpt/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=patience.timeout_seconds)
    except urllib.error.HTTPError as error:
        if error.code in _FINAL_STATUS:
            raise DataError(
                f"{url}: the server answers {error.code} {error.reason}; check the address and your access, and that "
                "every file in index.json was uploaded"
            ) from error
        raise _BrokeOffError(f"the server answers {error.code} {error.reason}") from error
    with response:
        first = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        # read1 gives what has come, so that it is kept if the rest does not come
        yield response.read1, first, None if length is None else first + int(length)


@contextmanager
def _open_filesystem(url: str, start: int) -> Iterator[Opened]:
    import fsspec

    scheme = url.partition("://")[0]
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(scheme, "a package of its own")
        remedy = f"pip install 'affectgpt[{scheme}]'" if scheme in ("s3", "gs") else f"install {package}"
        raise ConfigError(f"{url}: {scheme}:// needs {package}, which is not installed; {remedy}") from error
    except ValueError as error:
        message = f"{url}: nothing here reads {scheme}://; give a local folder, or https, s3, gs or hf"
        raise ConfigError(message) from error
    try:
        size = int(files.size(path))
        file = files.open(path, "rb")
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(
            f"{url} cannot be opened ({error}); check the address and your access, and that every file in index.json "
            "was uploaded"
        ) from error
    with file:
        file.seek(start)
        yield file.read, start, size
