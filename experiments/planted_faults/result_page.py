"""Writes the result as Markdown: the tables, what was expected, and what came out."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from affectgpt.files import write_whole
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import Summands, bootstrap_difference, wheel_f1_summands

LOW, E, S, ES = "low", "low + E", "low + S", "low + E + S"
LATER = ", more steps"
SINGLE, HALF = f"{ES}, one classifier", f"{ES}, half of the wheels"
RANDOM = f"random, as many as {ES}"
FEW = 0.20
FAULTS = ("description", "sound", "length")
MISMATCHES = ("description", "sound")
"""Faults because of which a clip and its description do not belong together."""
DEFAULTS = {"seeds": 3, "clean": 320, "raw": 640, "test": 300, "steps": 200, "voter_steps": 240, "workers": 2}
"""Arguments of the command where it is given none."""


def write_page(result: Mapping[str, Any], path: Path) -> None:
    """Write the page of a result."""
    found = Table(result)
    parts = [_head(result), _rows_table(found), _differences(found), _levels(found), _expected(found)]
    write_whole(path, "\n\n".join(parts) + "\n")


class Table:
    """The rows of a result by level and name, each a list over the seeds."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        wheel = EmotionWheel.builtin()
        self.main: float = result["main_level"]
        self.patience: int = result["patience"]
        self.removed_at_best: Mapping[str, float] = result["removed_at_best"]
        self.found: dict[tuple[float, str], list[Cell]] = {}
        for row in result["rows"]:
            taught = "answers" in row
            summands = wheel_f1_summands(row["answers"], result["gold"], wheel, zero_division=0.0) if taught else None
            cell = Cell(row["planted"], row["kept"], summands)
            self.found.setdefault((row["level"], row["row"]), []).append(cell)
            if "patient_answers" in row:
                later = wheel_f1_summands(row["patient_answers"], result["gold"], wheel, zero_division=0.0)
                name = f"{row['row']}{LATER}"
                self.found.setdefault((row["level"], name), []).append(replace(cell, summands=later))
        self.levels = sorted({level for level, _ in self.found})
        self.taught = [level for level in self.levels if self.cells(ES, level)[0].summands is not None]

    def names(self, level: float) -> list[str]:
        """The rows of a level, in order."""
        return [name for one, name in self.found if one == level]

    def cells(self, name: str, level: float | None = None) -> list[Cell]:
        """A row, one cell a seed."""
        return self.found[self.main if level is None else level, name]

    def f1(self, name: str, level: float | None = None) -> float:
        """Mean wheel F1 of a row, in percent."""
        return mean(cell.f1 for cell in self.cells(name, level))

    def gain(self, first: str, second: str, level: float | None = None) -> Gain:
        """How much better the students of one row are than those of another, in points.

        The summands of a test clip are added up over the seeds, and test clips are resampled: the interval speaks for
        other test clips, the range for other seeds.
        """
        one, two = self.cells(first, level), self.cells(second, level)
        told = bootstrap_difference(pooled(one), pooled(two)).difference
        by_seed = [a.f1 - b.f1 for a, b in zip(one, two, strict=True)]
        return Gain(mean(by_seed), 100 * told.low, 100 * told.high, min(by_seed), max(by_seed))


@dataclass(frozen=True)
class Cell:
    """One row of one seed.

    Attributes:
        planted: Fault to the number of clips in the raw set.
        kept: The same of what is kept.
        summands: What the student's answers add to its score; ``None`` where no student was trained.
    """

    planted: Mapping[str, int]
    kept: Mapping[str, int]
    summands: Summands | None

    @property
    def score(self) -> Summands:
        """What the student's answers add to its score."""
        if self.summands is None:
            raise ValueError("no student was trained on this row")
        return self.summands

    @property
    def f1(self) -> float:
        """Wheel F1 of the student, in percent."""
        return 100 * float(self.score.figure(self.score.rows.sum(0)))

    @property
    def size(self) -> int:
        """Clips that are kept."""
        return sum(self.kept.values())

    @property
    def wrong(self) -> float:
        """Share of the kept clips whose description is wrong."""
        return self.kept.get("description", 0) / max(1, self.size)

    def removed(self, fault: str) -> float:
        """Share of a fault's clips that are gone."""
        return 1 - self.kept.get(fault, 0) / max(1, self.planted[fault])


@dataclass(frozen=True)
class Gain:
    """A difference in points of wheel F1: its mean over seeds, a 95 % interval, and its least and greatest value."""

    value: float
    low: float
    high: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.value:+.1f} | {self.low:+.1f} to {self.high:+.1f} | {self.least:+.1f} to {self.most:+.1f}"


def pooled(cells: Sequence[Cell]) -> Summands:
    """The summands of several students, added up by test clip."""
    rows = np.sum([cell.score.rows for cell in cells], axis=0)
    return replace(cells[0].score, rows=rows)


def shares_confirmed(cell: Cell, low: Cell, faults: Sequence[str] = MISMATCHES) -> tuple[float, float, float]:
    """v, A and B of what reaches the vote: the share of faulty clips, and what is confirmed of sound and faulty ones.

    Args:
        cell: The row with the vote.
        low: The row that it is made from.
        faults: What counts as faulty.
    """
    faulty, confirmed_faulty = (sum(one.kept.get(fault, 0) for fault in faults) for one in (low, cell))
    fit, confirmed_fit = low.size - faulty, cell.size - confirmed_faulty
    return faulty / max(1, low.size), confirmed_fit / max(1, fit), confirmed_faulty / max(1, faulty)


def break_even(points: Sequence[tuple[float, float]]) -> float | None:
    """The lowest level at which the gain turns from loss to profit, between two measured levels; ``None`` for none.

    Examples:
        >>> break_even([(0.1, -4.0), (0.2, -2.0), (0.4, 2.0)])
        0.3
    """
    for (low, loss), (high, profit) in pairwise(points):
        if loss < 0 <= profit:
            return round(low + (high - low) * loss / (loss - profit), 10)
    return None


def _head(result: Mapping[str, Any]) -> str:
    import lightning
    import torch

    told, minutes = result["settings"], result["seconds"] / 60
    processes = "one process" if told["workers"] == 1 else f"{told['workers']} processes"
    changed = "".join(f" --{n.replace('_', '-')} {told[n]}" for n, value in DEFAULTS.items() if told[n] != value)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, lightning {lightning.__version__}"
    paragraphs = [
        "# Filters of annotation on planted faults",
        f"`python experiments/planted_faults{changed}`, {time.strftime('%Y-%m-%d')}",
        f"{_processor()}, {os.cpu_count()} cores, {versions}; load average {os.getloadavg()[2]:.1f}. The whole run: "
        f"{minutes:.1f} min by the clock in {processes} of one thread, "
        f"{result['processor_seconds'] / 60:.1f} min of processor time.",
        f"The corpus is synthetic. {told['clean']} clean clips for the voters, {told['raw']} raw ones of other "
        f"speakers, {told['test']} test clips of others again; {told['seeds']} seeds, which decide where the faults "
        "are, the random subsets, and the weights and the order of the students. The voters are the same for all "
        f"seeds; their vote on the emotion is right for {100 * mean(result['vote_accuracy']):.1f} % of the raw clips "
        "with their own sound.",
        f"Students take {told['steps']} steps of 8 clips, whatever is kept. F1 is the wheel F1 (built-in wheel) in "
        "percent, mean and standard deviation over the seeds. Intervals: 95 %, paired, bootstrap over the test clips, "
        "whose scores are added up over the seeds.",
    ]
    return "\n\n".join(paragraphs)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _rows_table(found: Table) -> str:
    lines = [
        f"## {100 * found.main:.0f} % wrong descriptions",
        "",
        "Removed: share of the planted faults that is gone. Wrong: share of wrong descriptions among what is kept.",
        "",
        "| filter | clips kept | wrong, % | removed: descriptions, % | sounds, % | lengths, % | student, F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in found.names(found.main):
        cells = found.cells(name)
        removed = " | ".join(f"{100 * mean(cell.removed(fault) for cell in cells):.1f}" for fault in FAULTS)
        kept, wrong = mean(cell.size for cell in cells), 100 * mean(cell.wrong for cell in cells)
        lines.append(f"| {name} | {kept:.0f} | {wrong:.1f} | {removed} | {_f1(cells)} |")
    best = {name: found.removed_at_best[name] for name in (E, S, ES, HALF)}
    told = ", ".join(f"{100 * share:.1f} % ({name})" for name, share in best.items())
    lines += [
        "",
        f"A vote that is always right would remove {told} of the wrong descriptions: the others name its group.",
    ]
    return "\n".join(lines)


def _f1(cells: Sequence[Cell]) -> str:
    if cells[0].summands is None:
        return ""
    values = [cell.f1 for cell in cells]
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _differences(found: Table) -> str:
    names = [
        (E, "none"), (S, "none"), (ES, "none"), (ES, LOW), (ES, E), (E, S),
        (ES, RANDOM), (ES, SINGLE), (HALF, ES), ("oracle", ES), ("oracle", "none"),
    ]  # fmt: skip
    lines = ["| students compared | F1, points | 95 % interval | least to greatest seed |", "|---|---|---|---|"]
    lines += [f"| {first} - {second} | {found.gain(first, second)} |" for first, second in names]
    return "\n".join(lines)


def _levels(found: Table) -> str:
    lines = [
        "## Other shares of wrong descriptions",
        "",
        f"A and B are those of the {100 * found.main:.0f} % run of the same seed. Of the clips that reach the vote, v "
        "are wrong descriptions and foreign sounds, and the share that is kept is of these clips.",
        "",
        f"| wrong, % | none, F1 | {ES}, F1 | {ES} - none | 95 % interval | seeds | kept, % | (1 - v) A + v B, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for level in found.levels:
        gain = found.gain(ES, "none", level) if level in found.taught else " |  | "
        kept, told = _kept_and_told(found, level)
        rates = f"{100 * mean(kept):.1f} | {100 * mean(told):.1f}"
        cells = f"{_f1(found.cells('none', level))} | {_f1(found.cells(ES, level))} | {gain}"
        lines.append(f"| {100 * level:.0f} | {cells} | {rates} |")
    if (FEW, f"{ES}{LATER}") in found.found:
        first, second = f"{ES}{LATER}", f"none{LATER}"
        gain = found.gain(first, second, FEW)
        lines += [
            "",
            f"With {found.patience} times as many steps at {100 * FEW:.0f} %: none {_f1(found.cells(second, FEW))}, "
            f"{ES} {_f1(found.cells(first, FEW))}, difference {gain.value:+.1f} ({gain.low:+.1f} to {gain.high:+.1f}; "
            f"seeds {gain.least:+.1f} to {gain.most:+.1f}).",
        ]
    for what, faults in (
        ("wrong descriptions and foreign sounds", MISMATCHES),
        ("wrong descriptions alone", ("description",)),
    ):
        pairs = zip(found.cells(ES), found.cells(LOW), strict=True)
        a_b = [shares_confirmed(cell, low, faults)[1:] for cell, low in pairs]
        lines += ["", f"With v of {what}: A {mean(a for a, _ in a_b):.3f}, B {mean(b for _, b in a_b):.3f}."]
    return "\n".join(lines)


def _kept_and_told(found: Table, level: float, faults: Sequence[str] = MISMATCHES) -> tuple[list[float], list[float]]:
    """The share that the vote keeps by seed, and what the formula tells from the main level's A and B."""
    kept, told = [], []
    for number, (cell, low) in enumerate(zip(found.cells(ES, level), found.cells(LOW, level), strict=True)):
        _, a, b = shares_confirmed(found.cells(ES)[number], found.cells(LOW)[number], faults)
        v = shares_confirmed(cell, low, faults)[0]
        kept.append(cell.size / max(1, low.size))
        told.append((1 - v) * a + v * b)
    return kept, told


def _expected(found: Table) -> str:
    control = found.gain(ES, RANDOM)
    removed = {name: 100 * mean(cell.removed("description") for cell in found.cells(name)) for name in (E, S, ES)}
    gains = {(a, b): found.gain(a, b) for a, b in ((E, "none"), (ES, E), (E, S))}
    rows = [
        ("E + S removes 80 % of the wrong descriptions or more", f"{removed[ES]:.1f} %", removed[ES] >= 80),
        ("E + S beats its random subset by 10 points or more", f"{control.value:+.1f}", control.value >= 10),
        ("none is below E", f"E - none {gains[E, 'none'].value:+.1f}", gains[E, "none"].value > 0),
        ("E + S is within 3 points of E", f"{gains[ES, E].value:+.1f}", abs(gains[ES, E].value) <= 3),
        (
            "S is the weaker filter",
            f"removes {removed[S]:.1f} % where E removes {removed[E]:.1f} %; E - S {gains[E, S].value:+.1f} points",
            removed[S] < removed[E] and gains[E, S].value > 0,
        ),
    ]
    if FEW in found.levels:
        few = found.gain(ES, "none", FEW)
        rows.append((f"at {100 * FEW:.0f} % filtering hurts", f"E + S - none {few.value:+.1f}", few.value < 0))
    at = break_even([(level, found.gain(ES, "none", level).value) for level in found.taught])
    where = "not between the levels" if at is None else f"{100 * at:.0f} % wrong descriptions"
    rows.append(("the break-even lies between two of the levels", where, at is not None))
    for what, faults in (("", MISMATCHES), (", v of wrong descriptions alone", ("description",))):
        pairs = [_kept_and_told(found, level, faults) for level in found.levels if level != found.main]
        off = max((100 * abs(mean(kept) - mean(told)) for kept, told in pairs), default=0.0)
        worst = max((100 * abs(k - t) for kept, told in pairs for k, t in zip(kept, told, strict=True)), default=0.0)
        said = f"means off by {off:.1f} at most, single seeds by {worst:.1f}"
        rows.append((f"kept follows (1 - v) A + v B within 3 points{what}", said, off <= 3))
    lines = ["## What was expected", "", "| expected | found | |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {'met' if met else 'missed'} |" for what, value, met in rows]
    return "\n".join(lines)
