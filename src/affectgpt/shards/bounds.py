"""Checks the values of an untrusted index: strings that become paths, and numbers that become sizes."""

from __future__ import annotations

import math
import re
from typing import Any

MAX_INDEX_BYTES = 32 * 2**20
"""Largest ``index.json``: about 150,000 shards, 38 TB in shards of 256 MB."""
MAX_SHARD_BYTES = 2**40
"""Largest tar."""
MAX_SAMPLES_PER_SHARD = 10**6
"""Most samples in a tar; the order of an epoch needs memory for the samples of the shards that are mixed."""
MIN_SAMPLE_BYTES = 1024
"""Least size of a sample in a tar: the header of its json member, and one block of content."""
MAX_MEMBER_BYTES = 2**31
"""Largest member that is read into memory."""
MAX_JSON_BYTES = 16 * 2**20
"""Largest json member of a sample."""

_TAR_NAME = re.compile(r"[\w-][\w.-]{0,200}\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def tar_name(value: Any) -> str:
    """Check the name of a tar, which must be directly in the folder.

    Raises:
        ValueError: If it is not.

    Examples:
        >>> tar_name("shard-000000.tar")
        'shard-000000.tar'
        >>> tar_name("../shard.tar")
        Traceback (most recent call last):
        ValueError: '../shard.tar' is not a plain name of a tar
    """
    if not isinstance(value, str) or not _TAR_NAME.fullmatch(value):
        raise ValueError(f"{value!r:.200} is not a plain name of a tar")
    return value


def sha256(value: Any) -> str:
    """Check a digest, which names files in the cache.

    Raises:
        ValueError: If it is not 64 hexadecimal digits, as ``hashlib`` writes them.
    """
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{value!r:.200} is not a sha256 of 64 hexadecimal digits")
    return value


def whole(value: Any, least: int, most: int) -> int:
    """Check a number that becomes a size or a count.

    Raises:
        ValueError: If it is not a whole number from ``least`` to ``most``.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.200} is not a whole number from {least:,} to {most:,}")
    return value


def seconds(value: Any) -> float:
    """Check a length of time.

    Raises:
        ValueError: If it is not a finite number from 0 on.
    """
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r:.200} is not a length in seconds")
    return float(value)


def text(value: Any) -> str:
    """Check a key or another short text, which may appear in messages and reports.

    Raises:
        ValueError: If it is not a text in UTF-8 of at most 1,000 characters.
    """
    if not isinstance(value, str) or len(value) > 1000:
        raise ValueError(f"{value!r:.200} is not a text of at most 1,000 characters")
    value.encode()  # an unpaired surrogate is a ValueError too
    return value
