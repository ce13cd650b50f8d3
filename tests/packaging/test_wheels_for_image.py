"""What a bare image is brought as wheels: all that the library needs, and nothing that replaces what the image has."""

from __future__ import annotations

import re
import tomllib

from conftest import ROOT, load_script


def test_everything_that_the_image_lacks_is_collected_and_nothing_that_it_has() -> None:
    tool = load_script("tools/collect_wheels.py")
    found = tool.needed("3.12")
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^\w-]", text, maxsplit=1)[0] for text in ours}
    on_image = {
        *tool.ON_IMAGE,
        "safetensors",
        "huggingface-hub",
        "pyyaml",
        "rich",
        "numpy",
        "fsspec",
        "filelock",
        "packaging",
    }
    assert names - on_image <= found.keys()
    assert {"psutil", "braceexpand", "httpcore2", "werkzeug"} <= found.keys(), "what these need in turn"
    assert not found.keys() & on_image
    assert not [name for name in found if name.startswith("nvidia")]
