"""Fetches the word tables of the AffectGPT authors from their public repository, once."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import cache_folder

log = logging.getLogger(__name__)

URL = "https://raw.githubusercontent.com/zeroQiaoba/AffectGPT/master/AffectGPT/emotion_wheel"
URL_VARIABLE = "AFFECTGPT_WHEEL_URL"

# sha256 of the published files; a file that differs is not kept.
SHA256: Mapping[str, str] = {
    "format.csv": "ba6de7d61db8e129d1d7ef8a2aae22a9e93a2c2e3e683e6f2735d04455f016f2",
    "synonym.xlsx": "23f81f9ab1d2418aaf96775304fb5dc52c62bb5d5ef652a97471d045fc9d2e29",
    "wheel1.xlsx": "e70485d354b82a7491ff24648273182a5f4f13f92c76e6b3e4f9033f5e6afcc1",
    "wheel2.xlsx": "acc001e076a8e60440361f58dd8c05ed900c4890c84bb7d8d1df93708a7d9c87",
    "wheel3.xlsx": "d62f30bf88c17c55876634cd088eacaef98278fc25457474364439872f9dbf83",
    "wheel4.xlsx": "660260561b7fe15550f3679a01e7c783608ce3403d4c28db0a88520f68d83aea",
    "wheel5.xlsx": "2dd4595b2cf8e7628ca06a416a8e38ac831614b244f23d1ae613dc34007649f1",
}


def fetched_tables(url: str | None = None) -> Path:
    """The cache folder with the published tables; missing or altered files are fetched.

    Args:
        url: The URL that the file names are appended to; by default the environment variable ``AFFECTGPT_WHEEL_URL``,
            or else the authors' repository.

    Raises:
        ConfigError: If files are missing and pooch, which fetches them, is not installed.
        DataError: If a file cannot be fetched, or is not the published one.
    """
    folder = cache_folder() / "emotion_wheel"
    wanting = [name for name, digest in SHA256.items() if not _is_published(folder / name, digest)]
    if not wanting:
        return folder
    address = (url or os.environ.get(URL_VARIABLE) or URL).rstrip("/") + "/"
    remedy = f"put {', '.join(wanting)} of {URL} into {folder}"
    try:
        import pooch  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the official word tables are fetched with pooch, which is not installed; pip install 'affectgpt[wheel]', "
            f"or {remedy}"
        ) from error
    log.info("fetching %d word tables from %s into %s (once)", len(wanting), address, folder)
    store = pooch.create(path=folder, base_url=address, registry={n: f"sha256:{d}" for n, d in SHA256.items()})
    for name in wanting:
        try:
            store.fetch(name)
        except (OSError, ValueError) as error:  # no connection, a refusal, or a file that is not the published one
            raise DataError(
                f"{name} could not be fetched from {address}: {_cause(error)}. Without a connection, "
                f"{remedy}; or pass a folder that holds all {len(SHA256)} tables"
            ) from error
    return folder


def _cause(error: Exception) -> str:
    """The innermost error as text: requests and urllib3 wrap it in long ones of their own."""
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    inner = getattr(inner, "reason", None) or inner
    return f"{type(inner).__name__}: {inner}"


def _is_published(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
