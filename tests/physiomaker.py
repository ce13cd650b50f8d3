"""Installs the plug-in of docs/new_modality.md as a distribution, and makes the files that it reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from affectgpt.cli.new_part import write_new_part

PAGE = Path(__file__).resolve().parents[1] / "docs" / "new_modality.md"
SECOND = 200  # samples


def blocks(kind: str) -> list[str]:
    """The blocks of the page in a language, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def install_physiology(folders: pytest.TempPathFactory) -> Path:
    """Follow the page: start from the template, put its module in, and install it into a folder of its own."""
    project, site = folders.mktemp("projects") / "physiology", folders.mktemp("site")
    write_new_part("source", "physiology", project)
    (project / "src" / "physiology" / "__init__.py").write_text(blocks("python")[0])
    written = (project / "pyproject.toml").read_text()
    assert all(line in written for line in blocks("toml")[0].splitlines())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(project)], check=True, capture_output=True, timeout=120)
    return site


def use(site: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the installed plug-in visible to this process and to those that it starts."""
    patch.syspath_prepend(str(site))
    # the entry is the patch's own, so that what is imported from now on goes with it
    patch.setitem(sys.modules, "physiology", ModuleType("physiology"))
    del sys.modules["physiology"]


def signals(seconds: float, pulse_hz: float = 1.0, lost: tuple[int, ...] = ()) -> bytes:
    """A CSV file of both signals; samples with these numbers were lost."""
    time = np.arange(round(seconds * SECOND)) / SECOND
    rows = [f"{np.sin(6.28 * pulse_hz * moment):.4f},{0.1 * moment:.4f}" for moment in time]
    for number in lost:
        rows[number] = "nan,nan"
    return "\n".join(["ecg,eda", *rows, ""]).encode()


def run_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """The run of the page, with its shards and log folder in ``folder``."""
    run: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    run["trainer"] |= {"default_root_dir": str(folder), "enable_model_summary": False, "max_steps": 4}
    run["trainer"] |= {"enable_progress_bar": False, "enable_checkpointing": False}
    run["data"]["args"]["train"] = str(folder / "shards")
    run["model"] |= changes
    return run
