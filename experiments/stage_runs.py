"""Trains a model in stages by the command line, each from what the one before left: what the experiments here share."""

from __future__ import annotations

import copy
import csv
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from affectgpt.cli.main import main as affectgpt
from affectgpt.cli.terminal import say
from affectgpt.files import write_whole

SUPERVISED = ("--objective", "null", "--trainer.gradient_clip_val", "1.0")
"""Options of a stage on given answers, with the configuration of a later stage, which clips its gradients itself."""


def run(command: Sequence[str]) -> None:
    """Show a command, and run it."""
    say(f"affectgpt {shlex.join(command)}")
    if affectgpt(command):
        raise SystemExit(1)


def fit_stages(
    stages: Mapping[str, Sequence[str]], config: Mapping[str, Any], out: Path, seed: int
) -> dict[str, float]:
    """Train one stage after the other on the features in ``out / "features" / "train"``.

    Args:
        stages: Name of each stage to its options of ``affectgpt fit``, which go before the configuration's.
        config: The configuration of all stages.
        out: Folder of the experiment; each stage has a folder and a configuration in it.
        seed: Of each stage.

    Returns:
        Name of each stage to its seconds.
    """
    took = {}
    for name, options in stages.items():
        began = time.perf_counter()
        file = write_config(config, out, name)
        run(["fit", "--config", str(file), "--seed_everything", str(seed), *options])
        took[name] = time.perf_counter() - began
    return took


def write_config(config: Mapping[str, Any], out: Path, stage: str) -> Path:
    """Write the configuration of a stage, with its folders."""
    own = copy.deepcopy(dict(config))
    own["data"]["args"]["train"] = str(out / "features" / "train")
    trainer = own["trainer"]
    trainer["default_root_dir"] = trainer["logger"]["init_args"]["save_dir"] = str(out / stage)
    trainer["callbacks"][0]["init_args"]["dirpath"] = str(out / stage)
    path = out / f"{stage}.yaml"
    write_whole(path, yaml.safe_dump(own, sort_keys=False))
    return path


def logged(out: Path, stage: str) -> list[dict[str, str]]:
    """What a stage logged, a row a step."""
    with (out / stage / "log" / "version_0" / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
