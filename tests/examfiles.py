"""Made test sets whose clips are known by their bytes, with answers of every kind, for the tests of the harnesses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from affectgpt.datamodules.unibench.folder_layouts import PROCESSED
from setmaker import make_processed

WORDINGS = (
    "He looks happy, although a bit tired.",
    "angry",
    "The character's emotional state is sad, lonely.",
    "[neutral]",
    "",
    '{"labels": ["surprised", "worried"]}',
    "<think>she may be angry</think>She seems joyful, not worried.",
    "I cannot tell.",
)
SETS = ("mer2023", "meld", "iemocap", "mosi", "mosei", "sims", "simsv2", "ovmerdplus")


def make_exam(root: Path, sets: Sequence[str], count: int = 24, epochs: int = 1) -> dict[str, list[str]]:
    """Write the sets; the answers to each clip, by ``set/name``, which is also what the clip's file holds."""
    answers = {}
    for name in sets:
        folder, names = make_processed(root, name, count)
        for number, one in enumerate(names):
            clip = folder / PROCESSED[name].video / f"{one}.mp4"
            clip.write_text(f"{name}/{one}")
            clip.with_suffix(".avi").unlink(missing_ok=True)
            answers[f"{name}/{one}"] = [WORDINGS[(3 * number + 5 * e) % len(WORDINGS)] for e in range(epochs)]
    return answers


def write_predictions(path: Path, answers: dict[str, list[str]], set_name: str, epoch: int = 0) -> Path:
    """The answers to one set as ``affectgpt score`` reads them."""
    rows = [(key.partition("/")[2], texts[epoch]) for key, texts in answers.items() if key.startswith(f"{set_name}/")]
    path.write_text("".join(json.dumps({"name": name, "text": text}) + "\n" for name, text in rows), "utf-8")
    return path


def is_same(one: float, other: float) -> bool:
    """Whether two figures are equal to the last digit, or both are undefined: 24 clips may be one video."""
    return one == other or (math.isnan(one) and math.isnan(other))
