"""Where fetched and compiled word tables are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder that the environment variable ``AFFECTGPT_CACHE`` names, or the user's cache folder."""
    return Path(os.environ.get("AFFECTGPT_CACHE") or platformdirs.user_cache_dir("affectgpt"))
