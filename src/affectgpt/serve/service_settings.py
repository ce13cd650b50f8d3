"""The settings of the service: its limits, and what it may fetch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from affectgpt.errors import ConfigError

KEYS_VARIABLE = "AFFECTGPT_API_KEYS"
"""Environment variable with the API keys, separated by commas or white space."""
MIN_KEY_CHARACTERS = 16

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


@dataclass(frozen=True)
class ServiceSettings:
    """How the service works.

    Attributes:
        model_name: The model's name in answers and in ``/v1/models``.
        max_batch: Most requests that the model answers at a time.
        max_wait_seconds: How long a request waits for others to share its batch, while the model is idle.
        max_queue: Most requests under way, those being uploaded, decoded and answered included; others get 429.
        timeout_seconds: Longest time from the uploaded request to its answer; then it gets 504.
        upload_seconds: Longest time for a body to arrive; then the request gets 408.
        drain_seconds: How long a stopping service waits for the requests under way.
        max_body_bytes: Largest body; larger ones get 413.
        max_held_bytes: Most bytes of all bodies under way together; further requests get 429.
        max_answer_tokens: Longest answer that a request may ask for; by default the model's own limit, or 256 if that
            is more.
        fetch_hosts: Hosts, with their port if it is not the usual one, from which media are fetched by URL.
        fetch_private: Whether these hosts may have private addresses.
        fetch_seconds: Longest time for one fetch.
        decoders: Processes that decode media.
        face_detector: What finds faces for a model that looks at them; ``None`` leaves the face out.

    Raises:
        ConfigError: If a value is out of its range.
    """

    model_name: str = "affectgpt"
    max_batch: int = 8
    max_wait_seconds: float = 0.02
    max_queue: int = 64
    timeout_seconds: float = 120.0
    upload_seconds: float = 60.0
    drain_seconds: float = 120.0
    max_body_bytes: int = 64 * 2**20
    max_held_bytes: int = 2**30
    max_answer_tokens: int | None = None
    fetch_hosts: tuple[str, ...] = ()
    fetch_private: bool = False
    fetch_seconds: float = 30.0
    decoders: int = 2
    face_detector: str | None = "centerface"

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_queue", "max_body_bytes", "max_held_bytes", "decoders"):
            if getattr(self, name) < 1:
                raise ConfigError(f"service: {name} is {getattr(self, name)}, but must be at least 1")
        for name in ("timeout_seconds", "upload_seconds", "fetch_seconds", "drain_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"service: {name} is {value}, but must be a number above 0")
        if not 0 <= self.max_wait_seconds < self.timeout_seconds:
            raise ConfigError(
                f"service: max_wait_seconds is {self.max_wait_seconds}, but must be from 0 to below timeout_seconds "
                f"({self.timeout_seconds})"
            )
        if self.max_answer_tokens is not None and self.max_answer_tokens < 1:
            raise ConfigError(f"service: max_answer_tokens is {self.max_answer_tokens}, but must be at least 1")
        if not self.model_name.strip() or not self.model_name.isprintable():
            raise ConfigError(f"service: model_name is {self.model_name!r}, but must be a printable name")
        for host in self.fetch_hosts:
            if _HOST.fullmatch(host) is None:
                raise ConfigError(f"service: {host!r} is not a host; write it as in media.example.org or 10.0.0.5:8080")


def read_keys(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The API keys of ``AFFECTGPT_API_KEYS``; empty if the variable is not set.

    Raises:
        ConfigError: If a key is short, or holds characters that a header cannot carry. The message has no key in it.

    Examples:
        >>> read_keys({"AFFECTGPT_API_KEYS": "a-key-of-sixteen-letters, another-key-of-that-kind"})
        ('a-key-of-sixteen-letters', 'another-key-of-that-kind')
    """
    told = environment.get(KEYS_VARIABLE)
    if told is None:
        return ()
    keys = tuple(told.replace(",", " ").split())
    if not keys:
        raise ConfigError(f"{KEYS_VARIABLE} is set, but holds no key; unset it for a service without keys")
    for number, key in enumerate(keys, start=1):
        if len(key) < MIN_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"key {number} of {len(keys)} in {KEYS_VARIABLE} must have at least {MIN_KEY_CHARACTERS} characters, "
                'all of them ASCII; make one with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )
    return keys
