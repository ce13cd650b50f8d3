"""Makes environments that hold a harness and the built wheel of the project, in front of the packages of this one."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 420


def environment(name: str, requirements: Sequence[str], cache: Path, work: Path) -> Path:
    """The folder of the programs of an environment; it is made once and kept, as installing takes about a minute.

    What is installed here is seen there as well, behind the environment's own packages: torch is not installed twice,
    and the versions that a harness asks for do not change those of the tests. Skips where nothing can be installed.
    """
    key = hashlib.sha256(f"{requirements} {sys.version} {sysconfig.get_path('purelib')}".encode()).hexdigest()[:12]
    folder = cache / f"{name}-{key}"
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (folder / "lib" / version / "site-packages" / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
        try:
            done = _pip(python, *requirements)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{requirements[0]} could not be installed in {SECONDS} s")
        if done.returncode:
            pytest.skip(f"{requirements[0]} could not be installed: {done.stderr.strip()[-300:]}")
        (folder / "complete").touch()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(work), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=SECONDS)
    done = _pip(python, "--no-deps", "--force-reinstall", *map(str, work.glob("*.whl")))
    assert not done.returncode, done.stderr
    return folder / "bin"


def offer(folder: Path, group: str, name: str, target: str, module: Path) -> None:
    """Put a module and an entry point to it into a folder, as an installed package has them."""
    info = folder / f"{name}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    shutil.copy(module, folder / module.name)


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command in a folder, with the package index of ``offer`` there, and without this tree's own sources."""
    env = {**os.environ, "PYTHONPATH": str(folder / "offered"), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _pip(python: Path, *what: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *what]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
