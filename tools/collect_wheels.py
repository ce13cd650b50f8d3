"""Collect the wheels that a bare image lacks, so that the benchmarks run there without a registry.

    python tools/collect_wheels.py wheels/
    # on the image: pip install --no-index --no-deps wheels/*.whl && python benchmarks/train.py

The image is one with Python 3.12 that has torch, transformers, lightning, timm, torchaudio and torchmetrics. What the
library needs besides, and what that needs in turn, is downloaded for Linux on x86-64 (glibc 2.28); the wheel of the
library is built. Packages that the image has are left out, so that none of them is replaced.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NEEDED = (
    "lazy-loader>=0.4,<0.7",
    "peft>=0.21,<0.22",
    "accelerate",
    "webdataset>=1.0.2,<1.1",
    "braceexpand",
    "av>=17,<20",
    "jsonargparse>=4.47,<4.54",
    "docstring-parser",
    "typeshed-client",
    "importlib-resources",
    "platformdirs>=4,<5",
    "pysubs2>=1.8,<2",
    "httpx2>=2,<3",
    "httpcore2",
    "truststore",
)
"""What the library imports and such an image lacks, with what these import that it lacks too."""


def main() -> None:
    """Download and build into a folder, and say what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python on the image")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip"]
    download = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(args.folder)]
    place = ["--python-version", args.python, "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]
    place += ["--platform", "manylinux2014_x86_64", "--platform", "any"]
    for needed in NEEDED:
        subprocess.run([*download, *place, needed], check=True)
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(args.folder), str(ROOT)],
        check=True,
    )
    wheels = sorted(args.folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    print(f"{len(wheels)} wheels, {size:.0f} MB, in {args.folder}: {', '.join(wheel.name for wheel in wheels)}")


if __name__ == "__main__":
    main()
