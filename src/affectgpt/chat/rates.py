"""Limits requests to a server: requests and tokens per minute, and pauses that the server asks for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from affectgpt.errors import ConfigError

WINDOW_SECONDS = 60.0
_LONGEST_NAP_SECONDS = 0.5  # so that a stopped run ends soon


class Ticket:
    """One admitted request.

    Attributes:
        time: Time of admission.
        tokens: Number of tokens; first an estimate, later the server's count.
    """

    def __init__(self, when: float, tokens: int) -> None:
        self.time, self.tokens = when, tokens


class RateLimit:
    """Admits requests of several threads as fast as the limits allow.

    Args:
        requests: Most requests in any ``window_seconds``; ``None`` for no limit.
        tokens: Most tokens in any ``window_seconds``. A single request with more tokens is admitted alone.
        window_seconds: A minute, as servers count.
        clock: A monotonic clock in seconds.

    Raises:
        ConfigError: If a limit is below 1.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        *,
        window_seconds: float = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, limit in (("requests_per_minute", requests), ("tokens_per_minute", tokens)):
            if limit is not None and limit < 1:
                raise ConfigError(f"{name} is {limit!r}; give a number from 1, or leave it out for no limit")
        self.requests, self.tokens = requests, tokens
        self._window, self._clock = window_seconds, clock
        self._passed: deque[Ticket] = deque()
        self._not_before = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Admit nothing for some seconds: one request was told to wait, and the others would be told the same."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)

    def wait(self, tokens: int, stop: threading.Event) -> Ticket | None:
        """Wait until a request is admitted.

        Args:
            tokens: Estimated number of tokens of the request.
            stop: Ends the wait.

        Returns:
            A ticket to correct when the tokens are known; ``None`` if the wait was ended.
        """
        while not stop.is_set():
            with self._lock:
                now = self._clock()
                pause = self._pause(now, tokens)
                if pause <= 0:
                    ticket = Ticket(now, tokens)
                    self._passed.append(ticket)
                    return ticket
            stop.wait(min(pause, _LONGEST_NAP_SECONDS))
        return None

    def _pause(self, now: float, tokens: int) -> float:
        """Seconds until a request can be admitted; 0 or less for now."""
        while self._passed and self._passed[0].time <= now - self._window:
            self._passed.popleft()
        pause = self._not_before - now
        if not self._passed:
            return pause
        next_leaves = self._passed[0].time + self._window - now
        if self.requests is not None and len(self._passed) >= self.requests:
            pause = max(pause, next_leaves)
        if self.tokens is not None and sum(one.tokens for one in self._passed) + tokens > self.tokens:
            pause = max(pause, next_leaves)
        return pause
