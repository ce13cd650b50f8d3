"""Fixtures of stored features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinyencoders import pretrained_config, save_clip, save_hubert


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of encoders' weights goes to a folder of the test's own."""
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a tiny CLIP and a tiny HuBERT; not to be changed."""
    return save_clip(tmp_path_factory.mktemp("clip")), save_hubert(tmp_path_factory.mktemp("hubert"))


@pytest.fixture
def config(networks: tuple[Path, Path]) -> dict[str, Any]:
    """A model that reads both."""
    return pretrained_config(*networks)
