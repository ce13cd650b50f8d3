"""Fixtures that several rooms share."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clipmaker import make_clip, make_wav

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
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def load_script(path: str) -> ModuleType:
    """A script of the project, which is in no package, as a module; the path is relative to the project.

    Its folder is on the path while it is loaded, as when Python runs it, so that it finds its neighbours.
    """
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(file.parent))
        patch.setitem(sys.modules, file.stem, module)  # where dataclasses look for the names of their module
        spec.loader.exec_module(module)
    return module


def write_manifest(folder: Path, lines: list[dict[str, object] | str]) -> Path:
    """Write a manifest beside its files; text is written as it is."""
    path = folder / "manifest.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of 0.4 s with a manifest; clip i is one shade of grey, 20 + 20 i."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = []
    for number in range(10):
        (folder / f"clip{number}.mp4").write_bytes(make_clip(0.4, shade=20 + 20 * number, audio=number != 3))
        labels = [["happy"], ["sad", "tired"], ["angry"]][number % 3]
        line = {"name": f"clip{number}", "video": f"clip{number}.mp4", "subtitle": f"words {number}", "labels": labels}
        lines.append({**line, "description": f"Person {number} speaks.", "lang": "en"})
    (folder / "clip4.wav").write_bytes(make_wav(0.4))
    lines[4]["audio"] = "clip4.wav"
    write_manifest(folder, lines)
    return folder


@pytest.fixture(scope="session")
def shards(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ten clips in four shards of 3, 3, 3 and 1."""
    from affectgpt.shards import pack

    out = tmp_path_factory.mktemp("packed") / "shards"
    pack(corpus / "manifest.jsonl", out, samples_per_shard=3)
    return out
