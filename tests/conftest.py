"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference data: beside the project, or named by AFFECTGPT_SHARED."""
    folder = Path(os.environ.get("AFFECTGPT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set AFFECTGPT_SHARED to run this test")
    return folder


@pytest.fixture(autouse=True)
def _single_thread() -> None:
    """Small tests run faster, and repeat exactly, on one thread."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
