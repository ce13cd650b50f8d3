"""The folder of a reader, made once, and a fresh copy of it for each page whose blocks are run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver import Step, in_turn, serve
from conftest import ROOT
from pagerunner import PageRunner
from readersfolder import make_readers_folder


@pytest.fixture(scope="session")
def readers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, with what others supplied where it is at hand."""
    folder = tmp_path_factory.mktemp("reader")
    shared = Path(os.environ.get("AFFECTGPT_SHARED", ROOT.parent / "shared"))
    wheel, released = shared / "data" / "emotion_wheel", shared / "oracle" / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_readers_folder(
            folder, wheel=wheel if wheel.is_dir() else None, released=released if released.is_dir() else None
        )
    shutil.copytree(ROOT / "experiments", folder / "experiments", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def reader(
    readers_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[PageRunner]:
    """Runs pages in a copy of the folder."""
    copy = tmp_path / "reader"
    shutil.copytree(readers_folder, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("HOME", str(copy / "home"))
    monkeypatch.setenv("AFFECTGPT_CACHE", str(copy / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with serve(in_turn(Step("She is happy."))) as (url, _):
        yield PageRunner(copy, url, (copy / "cache" / "emotion_wheel").is_dir(), capsys, monkeypatch)
