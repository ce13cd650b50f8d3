"""Collect the wheels that a bare image lacks, so that the benchmarks run there without a registry.

    python tools/collect_wheels.py wheels/
    # on the image: pip install --no-index --find-links wheels/ affectgpt && python benchmarks/train.py

The image is one with Python 3.12 that has torch, transformers, lightning, timm, torchaudio and torchmetrics. What the
library needs besides, and what that needs in turn, is read from pyproject.toml and from what is installed here, and
downloaded in the versions that are installed here, for Linux on x86-64 (glibc 2.28); the wheel of the library is built.
pip takes of these what the image lacks, and replaces nothing that fits.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

ON_IMAGE = ("torch", "transformers", "lightning", "timm", "torchaudio", "torchvision", "torchmetrics")
"""What the image has, with all that these need."""

NOT_IN_OLDER = ("httpx2",)
"""What the image has only if its transformers is as new as the one here; collected all the same."""


def needed(python: str) -> dict[str, str]:
    """Name to version of every package that the library needs, without those of the image.

    Args:
        python: Version of Python on the image.
    """
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = _closure(ours, python) - (_closure(ON_IMAGE, python) - _closure(NOT_IN_OLDER, python))
    return {name: version(name) for name in sorted(names)}


def _closure(requirements: Iterable[str], python: str) -> set[str]:
    """Names of packages and of all that they need, as they are installed here."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        one = left.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in found:
            continue
        found.add(key)
        for text in requires(one.name) or ():
            inner = Requirement(text)
            extras = ("", *one.extras)
            if inner.marker is None or any(inner.marker.evaluate({**environment, "extra": each}) for each in extras):
                left.append(inner)
    return {name for name, _ in found}


def main() -> None:
    """Download and build into a folder, and say what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python on the image")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip"]
    place = ["--python-version", args.python, "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]
    place += ["--platform", "manylinux2014_x86_64", "--platform", "any"]
    pinned = [f"{name}=={number}" for name, number in needed(args.python).items()]
    subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(args.folder), *place, *pinned],
        check=True,
    )
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(args.folder), str(ROOT)],
        check=True,
    )
    wheels = sorted(args.folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    print(f"{len(wheels)} wheels, {size:.0f} MB, in {args.folder}: {', '.join(wheel.name for wheel in wheels)}")


if __name__ == "__main__":
    main()
