"""Talks to web servers: one client, growing waits between tries, and URLs without their secrets."""

from __future__ import annotations

import datetime
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from affectgpt.errors import DataError

log = logging.getLogger(__name__)

MIN_BYTES_PER_SECOND = 10_000
"""A server that sends less than this on average, over the whole timeout, counts as silent."""
MAX_REDIRECTS = 5
LONGEST_WAIT_SECONDS = 60.0
"""Longest wait between two tries, whatever the server asks for."""

_RETRIED_STATUS = frozenset({408, 409, 425, 429})
_URL = re.compile(r"""([A-Za-z][A-Za-z0-9+.-]*://)([^\s'"<>]*)""")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        timeout_seconds: Longest wait for the server to answer or to send more; over this time it must also send
            ``MIN_BYTES_PER_SECOND`` on average.
        attempts: Tries without any progress before giving up.
        delay_seconds: Wait after the first failure; doubled after each further one, up to 30 s.
        min_bytes_per_second: See ``timeout_seconds``.
    """

    timeout_seconds: float = 30.0
    attempts: int = 6
    delay_seconds: float = 0.5
    min_bytes_per_second: float = MIN_BYTES_PER_SECOND


class TryAgainError(Exception):
    """A failure that may be temporary: a cut connection, an overloaded server, an answer that is not JSON.

    Args:
        reason: What went wrong.
        wait_seconds: How long the server asks clients to wait, if it says so.
        stalled: Whether the server was so slow that the bytes received do not count as progress.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None, *, stalled: bool = False) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds
        self.stalled = stalled


def open_client(timeout_seconds: float, headers: Mapping[str, str] | None = None) -> httpx2.Client:
    """Open a client with bounded waits that follows redirects without passing on keys; use it as a context manager."""
    from affectgpt import __version__

    own = {"User-Agent": f"affectgpt/{__version__}", "Accept-Encoding": "identity"}
    return httpx2.Client(
        timeout=timeout_seconds,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        limits=httpx2.Limits(max_connections=None),
        headers={**own, **(headers or {})},
    )


def again(attempt: Callable[[], Result], patience: Patience, progress: Callable[[], int] = lambda: 0) -> Result:
    """Call ``attempt`` until it succeeds; the count of failures restarts after ``progress``.

    Raises:
        TryAgainError: The last failure, if there were too many.
    """
    failures = 0
    while True:
        before = progress()
        try:
            return attempt()
        except TryAgainError as error:
            failures = 1 if progress() > before and not error.stalled else failures + 1
            if failures >= patience.attempts:
                raise
            delay = min(patience.delay_seconds * 2 ** (failures - 1), 30.0)
            delay = min(error.wait_seconds or delay, LONGEST_WAIT_SECONDS)
            log.warning("%s; trying again in %.1f s", error, delay)
            time.sleep(delay)


@contextmanager
def requested(client: httpx2.Client, method: str, url: str, **options: Any) -> Iterator[httpx2.Response]:
    """Request a URL; the content of the response, of any status, is read piece by piece.

    Raises:
        DataError: If the URL is invalid, or redirects in circles.
        TryAgainError: If the connection fails, also while the content is read.
    """
    try:
        with client.stream(method, url, **options) as response:
            yield response
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
        raise DataError(f"{without_secrets(url)}: {without_secrets(str(error))}; check the URL") from error
    except (httpx2.TransportError, httpx2.StreamError) as error:
        reason = without_secrets(str(error)) or "the connection failed"
        timed_out = isinstance(error, httpx2.TimeoutException)
        raise TryAgainError(f"{type(error).__name__}: {'timed out' if timed_out else reason}") from error


def refusal(response: httpx2.Response, said: str = "") -> TryAgainError | None:
    """The error to raise for a temporary status, such as 429 or 503; ``None`` for other statuses."""
    if response.status_code not in _RETRIED_STATUS and response.status_code < 500:
        return None
    reason = f"HTTP {response.status_code} {response.reason_phrase}" + (f": {said}" if said else "")
    return TryAgainError(reason, _pause_of(response.headers.get("Retry-After", "").strip()))


def _pause_of(told: str) -> float | None:
    """Seconds of a ``Retry-After``: a number, or a date; ``None`` where it is neither."""
    if told.isascii() and told.replace(".", "", 1).isdigit():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return None
    aware = until if until.tzinfo is not None else until.replace(tzinfo=datetime.UTC)
    return max(0.0, (aware - datetime.datetime.now(datetime.UTC)).total_seconds())


class Pace:
    """Checks how fast content arrives.

    Args:
        patience: Sets the least speed.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._start, self._bytes = time.monotonic(), 0

    def add(self, num_bytes: int) -> None:
        """Count received bytes.

        Raises:
            TryAgainError: If too few bytes arrived within the timeout.
        """
        self._bytes += num_bytes
        seconds = time.monotonic() - self._start
        if seconds < self._patience.timeout_seconds:
            return
        rate = self._bytes / seconds
        if rate < self._patience.min_bytes_per_second:
            least = self._patience.min_bytes_per_second
            raise TryAgainError(
                f"{rate:,.0f} bytes per second arrived, less than {least:,.0f} (min_bytes_per_second)", stalled=True
            )
        self._start, self._bytes = time.monotonic(), 0


def without_secrets(text: str) -> str:
    """Remove user, password, signature and any other query from the URLs in a text.

    Examples:
        >>> without_secrets("https://me:key@host/set/index.json?X-Signature=abc is gone")
        'https://host/set/index.json is gone'
        >>> without_secrets("shards/train"), without_secrets("simplecache::s3://key:word@bucket/a")
        ('shards/train', 'simplecache::s3://bucket/a')
    """
    return _URL.sub(lambda found: found[1] + _bare(found[2]), text) if "://" in text else text


def _bare(rest: str) -> str:
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return host.rpartition("@")[2] + slash + path


def strip_secrets(data: Any) -> Any:
    """Plain data with ``without_secrets`` applied to every text in it, keys of mappings included."""
    if isinstance(data, str):
        return without_secrets(data)
    if isinstance(data, Mapping):
        return {strip_secrets(key): strip_secrets(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(map(strip_secrets, data))
    return data
