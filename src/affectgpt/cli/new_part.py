"""Writes a distribution with one new part and its test, as a start for a plug-in."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from affectgpt.errors import ConfigError, DataError, did_you_mean
from affectgpt.files import draft_folder
from affectgpt.registry import (
    ANSWERERS,
    ASRS,
    DATAMODULES,
    ENCODERS,
    FACE_DETECTORS,
    LLMS,
    OBJECTIVES,
    POOLINGS,
    PREFUSIONS,
    PROJECTORS,
    REWARDS,
    SOURCES,
    STAGES,
    Registry,
)

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class PartKind:
    """A kind of part that can be plugged in.

    Attributes:
        registry: Where parts of the kind are found.
        listed: What ``affectgpt parts`` calls the kind.
        template: Start of the names of the template files.
        beside: Registry of the part that the template has beside it, under the same name; its class is called like the
            part's, followed by the kind.
    """

    registry: Registry[Any]
    listed: str
    template: str
    beside: Registry[Any] | None = None


KINDS: Mapping[str, PartKind] = {
    "source": PartKind(SOURCES, "sources", "source", ENCODERS),
    "encoder": PartKind(ENCODERS, "encoders", "encoder"),
    "pooling": PartKind(POOLINGS, "poolings", "pooling"),
    "prefusion": PartKind(PREFUSIONS, "prefusions", "prefusion"),
    "projector": PartKind(PROJECTORS, "projectors", "projector"),
    "llm": PartKind(LLMS, "llms", "llm"),
    "datamodule": PartKind(DATAMODULES, "datamodules", "datamodule"),
    "face-detector": PartKind(FACE_DETECTORS, "face_detectors", "face_detector"),
    "asr": PartKind(ASRS, "asrs", "asr"),
    "answerer": PartKind(ANSWERERS, "answerers", "answerer"),
    "stage": PartKind(STAGES, "stages", "stage"),
    "reward": PartKind(REWARDS, "rewards", "reward"),
    "objective": PartKind(OBJECTIVES, "objectives", "objective"),
}


def write_new_part(kind: str, name: str, folder: str | Path | None = None) -> Path:
    """Write a distribution: ``pyproject.toml`` with the entry point, the part, its test, and a page.

    Args:
        kind: A name in ``KINDS``.
        name: Name of the part and of the distribution: lower case, with dashes.
        folder: Where to; a folder of the part's name, here, by default.

    Returns:
        The folder.

    Raises:
        ConfigError: If the kind is unknown, or the name is not fit or has an owner.
        DataError: If the folder exists already.
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no kind of part {kind!r}.{did_you_mean(kind, KINDS)} Known: {', '.join(KINDS)}")
    known = KINDS[kind]
    package = name.replace("-", "_")
    if not NAME.fullmatch(name) or keyword.iskeyword(package):
        raise ConfigError(
            f"{name!r} is no name for a part; use lower-case words with dashes between, such as 'my-face'"
        )
    if name in known.registry or (known.beside is not None and name in known.beside):
        raise ConfigError(f"the name {name!r} is taken; affectgpt parts {known.listed} says by whom. Choose another")
    if importlib.util.find_spec(package) is not None:
        raise ConfigError(f"a package {package!r} is installed already; choose another name than {name!r}")
    out = Path(folder) if folder is not None else Path(name)
    if out.exists():
        raise DataError(f"{out} exists already; name another folder with --out, or remove it")
    words = {
        "kind": kind,
        "name": name,
        "package": package,
        "cls": "".join(word.capitalize() for word in name.split("-")),
        "group": known.registry.group,
        "listed": known.listed,
        "more": "",
    }
    if known.beside is not None:
        target = f"{package}:{words['cls']}{known.beside.kind.capitalize()}"
        words["more"] = f'\n[project.entry-points."{known.beside.group}"]\n{name} = "{target}"\n'
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{package}/__init__.py": f"{known.template}.py",
        f"tests/test_{package}.py": f"{known.template}_test.py",
    }
    with draft_folder(out) as draft:
        for path, template in files.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_text(_filled(template, words), "utf-8")
    return out


def _filled(template: str, words: Mapping[str, str]) -> str:
    text = resources.files("affectgpt.cli").joinpath("part_templates", f"{template}.txt").read_text("utf-8")
    return Template(text).substitute(words)
