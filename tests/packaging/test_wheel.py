"""The wheel holds the package and its data, and every module imports from a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, pkgutil, sys
import affectgpt
names = [m.name for m in pkgutil.walk_packages(affectgpt.__path__, "affectgpt.")]
# tests/harness runs these where their harness is installed
loaded_by_a_harness = ("inspect_tasks", "inspect_media", "lmms_manifest", "lmms_model")
names = [name for name in names if not name.endswith(loaded_by_a_harness)]
for name in names:
    importlib.import_module(name)
print(affectgpt.__file__, len(names))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return next(out.glob("*.whl"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"affectgpt", next(top for top in tops if top.endswith(".dist-info"))}
    assert "affectgpt/py.typed" in names
    sources = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src").rglob("*.py")}
    assert sources <= set(names)
    assert {"affectgpt/demo/demo.yaml", "affectgpt/pages/page.css"} <= set(names)
    published = {
        f"affectgpt/bench/published/{name}" for name in ("rows.tsv", "secondary.tsv", "views.tsv", "sources.json")
    }
    assert published <= set(names)
    assert any(name.startswith("affectgpt/metrics/wheel/data/") for name in names)
    assert {f"affectgpt/media/faces/data/{name}" for name in ("centerface.safetensors", "NOTICE.txt")} <= set(names)


def test_every_module_imports_from_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    site = next((tmp_path / "env" / "lib").glob("python3*/site-packages"))
    clean = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(clean), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=120)
    # the dependencies are those of this environment; the package itself must come from the wheel
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(clean), "-c", IMPORT_ALL],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    where, count = done.stdout.split()
    assert Path(where).is_relative_to(site)
    assert int(count) > 40
    shown = subprocess.run([str(clean.with_name("affectgpt")), "--version"], capture_output=True, text=True, timeout=60)
    assert shown.stdout.startswith("affectgpt ")


def test_import_brings_no_heavy_module() -> None:
    code = "import sys, affectgpt, affectgpt.registry as r, affectgpt.types, affectgpt.errors; r.ENCODERS.entries();"
    code += "print(sorted({'torch', 'lightning', 'transformers', 'numpy', 'torchmetrics', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
