"""Installs a small distribution with encoders as plug-ins: a good one, a broken one, and one whose name is taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "face-plugin"
version = "2.5"
[project.entry-points."affectgpt.encoders"]
plugged-face = "face_plugin:PluggedFace"
broken-face = "face_plugin.broken:BrokenFace"
tiny-vision = "face_plugin:PluggedFace"
"""
MODULE = """
from torch import nn
from affectgpt.encoders import Encoder, VisualSpec
from affectgpt.types import Features, Modality

class PluggedFace(Encoder):
    modality = Modality.VISUAL
    def __init__(self, dim: int = 4):
        super().__init__()
        self.out_dim, self.input_spec = dim, VisualSpec(8, 8)
        self.layer = nn.Linear(3 * 8 * 8, dim)
    def forward(self, media, keep):
        return Features(self.layer(self.preprocess(media).flatten(1)).view(*keep.shape, -1), keep)
"""


def install_face_plugin(folders: pytest.TempPathFactory) -> Path:
    """Build the distribution ``face-plugin 2.5`` and install it into a folder of its own."""
    project, site = folders.mktemp("plugin"), folders.mktemp("site")
    package = project / "face_plugin"
    package.mkdir()
    (project / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text(MODULE)
    (package / "broken.py").write_text("import a_module_that_nobody_has\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(project)], check=True, capture_output=True, timeout=120)
    return site
