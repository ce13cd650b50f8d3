"""The verb ``doctor``: reports what works on this machine, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from affectgpt.cli.terminal import say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.llm.smollm2_package import INSTALL, missing_packages

CORE = ("torch", "lightning", "torchmetrics", "transformers", "peft", "webdataset", "av", "jsonargparse")
FOR_DEVELOPERS = ("dev", "docs")
_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)['\"]")


def run(verb: str, argv: Sequence[str]) -> int:
    """Print the report; exit with 1 if a required package is missing."""
    args = parser().parse_args(argv)
    report = examine()
    if args.json:
        say_json(json.dumps(report, indent=2))
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
    extras = states_of_extras(metadata.requires("affectgpt") or [])
    extras["SmolLM2-135M"] = f"lacks {', '.join(lacking)}: {INSTALL}" if (lacking := missing_packages()) else "packaged"
    return {"machine": machine, "packages": packages, "extras": extras, "compute": _compute(packages["torch"])}


def states_of_extras(requires: Sequence[str]) -> dict[str, str]:
    """What is there of each extra, and the command that installs the rest.

    Args:
        requires: Requirements of the package as its metadata has them, such as ``"timm>=1.0.26; extra == 'media'"``.

    Returns:
        Extra to one line.
    """
    direct: dict[str, list[Requirement]] = {}
    for line in requires:
        requirement = Requirement(line)
        found = _EXTRA.search(str(requirement.marker or ""))
        if found is not None and found[1] not in FOR_DEVELOPERS:
            direct.setdefault(found[1], []).append(requirement)
    return {extra: _state(extra, _with_nested(extra, direct)) for extra in direct}


def _with_nested(extra: str, direct: Mapping[str, Sequence[Requirement]]) -> dict[str, SpecifierSet]:
    """The packages of an extra and of the extras that it includes, and the versions that are meant."""
    wanted: dict[str, SpecifierSet] = {}
    for requirement in direct.get(extra, ()):
        if requirement.name == "affectgpt":
            for nested in sorted(requirement.extras):
                wanted |= _with_nested(nested, direct)
        else:
            wanted[requirement.name] = requirement.specifier
    return wanted


def _state(extra: str, wanted: Mapping[str, SpecifierSet]) -> str:
    here = {name: version for name in wanted if (version := _version(name)) is not None}
    wrong = [
        f"{name}{wanted[name]}"
        for name, version in here.items()
        if not wanted[name].contains(version, prereleases=True)
    ]
    lacking = [name for name in wanted if name not in here] + wrong
    if lacking:
        return f"lacks {', '.join(lacking)}: pip install 'affectgpt[{extra}]'"
    return ", ".join(f"{name} {version}" for name, version in here.items())


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
