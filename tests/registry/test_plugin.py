"""An installed distribution adds one good encoder and one broken one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pluginmaker import install_face_plugin


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_face_plugin(tmp_path_factory)


def python(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *args], env=environment, capture_output=True, text=True, timeout=120)


def test_installed_plugin_is_listed_and_a_broken_one_hides_nothing(site: Path) -> None:
    done = python(site, "-m", "affectgpt.cli.main", "parts", "encoders", "--check", "--json")
    entries = json.loads(done.stdout)["encoders"]
    plugged = {(e["name"], e["owner"]): e["problem"] for e in entries}
    assert plugged["plugged-face", "face-plugin 2.5"] is None
    assert "a_module_that_nobody_has" in plugged["broken-face", "face-plugin 2.5"]
    assert "taken by affectgpt" in plugged["tiny-vision", "face-plugin 2.5"]
    assert plugged["tiny-vision", "affectgpt"] is None
    assert done.returncode == 1


def test_installed_plugin_builds_by_name(site: Path) -> None:
    code = "from affectgpt.registry import ENCODERS as E;"
    code += "print(E.build({'name': 'plugged-face', 'args': {'dim': 6}}).out_dim)"
    assert python(site, "-c", code).stdout.strip() == "6"
    done = python(site, "-c", "from affectgpt.registry import ENCODERS as E; E.build('broken-face')")
    assert "'broken-face' of face-plugin 2.5 needs the module 'a_module_that_nobody_has'" in done.stderr
