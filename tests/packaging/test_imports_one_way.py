"""The import-direction contract of pyproject.toml holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_imports_run_one_way() -> None:
    root = Path(__file__).resolve().parents[2]
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 0, done.stdout
