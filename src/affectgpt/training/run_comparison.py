"""Compares runs by the figures that they logged: a table, and one picture of their losses."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from affectgpt.errors import DataError, did_you_mean
from affectgpt.pages.plotting import SOFT, STRONG, STRONG_HIT, new_figure, to_png
from affectgpt.training.run_legs import Figures, Leg, continued, joined
from affectgpt.training.run_settings import ELSEWHERE, changed_settings
from affectgpt.training.table_logger import FIGURES, earlier_tables

SETTINGS = "config.yaml"
MOST_BYTES = 2**28
"""The largest file of figures that is read."""
LAST = 10
"""Over so many logged values the last loss is a mean: single ones jump."""
MOST_CHANGES = 6
COLORS = (STRONG, STRONG_HIT, "#1d7a4c", "#b5651d", "#0f7c90", "#8a6d1f", "#5d6577", "#a03a3a")


@dataclass(frozen=True)
class Run:
    """What a run left.

    Attributes:
        name: Its folder, as short as it can be told from the others.
        folder: Where its figures lie.
        figures: Name of a figure to its values by step, in order.
        settings: Its configuration, empty where none was written.
        differs: What differs from the first run's configuration, as ``name: value``.
        starts: How often it was started: once, and each time that it was resumed.
    """

    name: str
    folder: Path
    figures: Mapping[str, Mapping[int, float]]
    settings: Mapping[str, Any]
    differs: tuple[str, ...] = field(default=())
    starts: int = 1

    def row(self) -> dict[str, float | int | None]:
        """The figures of the table; ``None`` where the run did not log one."""
        loss = list(self.figures.get("train/loss", {}).values())
        speed = list(self.figures.get("speed/tokens_per_s", {}).values())
        f1 = self.figures.get("val/f1", {})
        best = max(f1, key=lambda step: f1[step], default=None)
        return {
            "steps": 1 + max((step for values in self.figures.values() for step in values), default=-1),
            "train_loss": sum(loss[-LAST:]) / len(loss[-LAST:]) if loss else None,
            "val_loss": min(self.figures.get("val/loss", {}).values(), default=None),
            "val_f1": None if best is None else f1[best],
            "at_step": best,
            "hit_rate": max(self.figures.get("val/hit_rate", {}).values(), default=None),
            "tokens_per_s": median(speed) if speed else None,
        }


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Every run in some folders, by name.

    Args:
        folders: Folders of runs, searched at any depth, or files of figures.

    Raises:
        DataError: If a folder is not there, or none holds a run.
    """
    files: list[Path] = []
    for folder in map(Path, folders):
        if not folder.exists():
            near = did_you_mean(folder.name, [path.name for path in folder.parent.glob("*")])
            raise DataError(f"there is no folder {folder}.{near}")
        files += [folder] if folder.is_file() else sorted(folder.rglob(FIGURES))
    if not files:
        raise DataError(
            f"no {FIGURES} in {', '.join(map(str, folders))}; affectgpt fit writes one, unless trainer.logger is false"
        )
    starts = [_start(file) for file in dict.fromkeys(files)]
    legs = joined(sorted(starts, key=lambda leg: _in_order(leg.folder)))
    names = _names([leg.folder for leg in legs])
    first = legs[0].settings
    runs = []
    for name, leg in zip(names, legs, strict=True):
        changes = changed_settings(first, leg.settings) if first and leg.settings else []
        differs = tuple(f"{change.name}: {change.now}" for change in changes if not _is_elsewhere(change.name))
        runs.append(Run(name, leg.folder, leg.figures, leg.settings, differs, leg.starts))
    return runs


def table(runs: Sequence[Run]) -> list[str]:
    """The runs as lines of text, the best validated first."""
    header = ["run", "steps", "train/loss", "val/loss", "val/f1", "at step", "hit rate", "tokens/s"]
    rows = [[run.name, *(_shown(name, value) for name, value in run.row().items())] for run in ranked(runs)]
    if any(run.starts > 1 for run in runs):
        header.append("starts")
        rows = [[*row, str(run.starts)] for row, run in zip(rows, ranked(runs), strict=True)]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for name, *cells in [header, *rows]:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]))
    for run in runs[1:]:
        if run.differs:
            more = f"; and {len(run.differs) - MOST_CHANGES} more" if len(run.differs) > MOST_CHANGES else ""
            lines.append(f"{run.name} has, unlike {runs[0].name}: {'; '.join(run.differs[:MOST_CHANGES])}{more}")
    return lines


def ranked(runs: Iterable[Run]) -> list[Run]:
    """Runs by validation F1, then by validation loss, then by training loss; those without come last."""

    def key(run: Run) -> tuple[float, ...]:
        row = run.row()
        f1, val, train = (row[name] for name in ("val_f1", "val_loss", "train_loss"))
        return (-(f1 if f1 is not None else -1), *(math.inf if v is None else float(v) for v in (val, train)))

    return sorted(runs, key=key)


def draw(runs: Sequence[Run]) -> bytes:
    """A picture of the losses of all runs: training as lines, validation as dots.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure(7.4, 4.2, extra="report")
    for run, color in zip(ranked(runs), COLORS, strict=False):
        losses = dict(smooth(run.figures.get("train/loss", {})))
        axes.plot(list(losses), list(losses.values()), color=color, linewidth=1.8, label=run.name)
        val = run.figures.get("val/loss", {})
        axes.plot(list(val), list(val.values()), "o", color=color, markersize=5)
    axes.plot([], [], "o", color=SOFT, label="validation")
    axes.set_xlabel("step", color=SOFT)
    axes.set_ylabel("loss, mean over tokens", color=SOFT)
    axes.set_ylim(bottom=0)
    left = len(runs) - len(COLORS)
    axes.legend(frameon=False, fontsize=9, title=f"{left} more are not drawn" if left > 0 else None)
    return to_png(figure)


def smooth(values: Mapping[int, float]) -> Iterator[tuple[int, float]]:
    """A running mean that forgets within a fiftieth of the run, begun without a bias."""
    keep = 1 - 1 / max(1.0, len(values) / 50)
    total = weight = 0.0
    for step, value in values.items():
        total, weight = keep * total + value, keep * weight + 1
        yield step, total / weight


def _start(file: Path) -> Leg:
    """What the table in a folder says, and those of earlier starts in the same folder."""
    tables = [*earlier_tables(file.parent), file] if file.name == FIGURES else [file]
    figures: Figures = {}
    for table in tables:
        figures = continued(figures, _figures(table))
    return Leg(file.parent, figures, _settings(file.parent / SETTINGS), len(tables))


def _figures(file: Path) -> dict[str, dict[int, float]]:
    if file.stat().st_size > MOST_BYTES:
        raise DataError(f"{file} is larger than {MOST_BYTES >> 20} MiB, and not read")
    found: dict[str, dict[int, float]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            for number, row in enumerate(csv.DictReader(lines)):
                step = int(row["step"]) if (row.get("step") or "").isdigit() else number
                for name, value in row.items():
                    if name and name not in ("step", "epoch") and isinstance(value, str) and value:
                        found.setdefault(name.removesuffix("_step"), {})[step] = float(value)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise DataError(f"{file} is no table of figures as a run logs them: {error}") from error
    return found


def _settings(file: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8")) if file.stat().st_size < MOST_BYTES >> 4 else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}


def _is_elsewhere(name: str) -> bool:
    """Whether a setting says where and how a run is made and what is shown of it, not what is learnt."""
    first, _, setting = name.partition(".")
    return first in ("ckpt_path", "overwrite", "rank_timeout", "profile") or (
        first == "trainer" and setting.partition(".")[0] in ELSEWHERE
    )


def _in_order(folder: Path) -> tuple[Any, ...]:
    """By this folders of runs are in the order of their starts: ``version_10`` comes after ``version_9``."""
    return tuple((int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", str(folder)))


def _names(folders: Sequence[Path]) -> list[str]:
    """Folders without what all have in common."""
    pieces = [folder.parts for folder in folders]
    if len(folders) == 1:
        return ["/".join(pieces[0][-2:])]
    common = 0
    while len({piece[common : common + 1] for piece in pieces}) == 1 and pieces[0][common : common + 1]:
        common += 1
    return [str(Path(*piece[common:])) if piece[common:] else piece[-1] for piece in pieces]


def _shown(name: str, value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if name in ("steps", "at_step", "tokens_per_s") else f"{value:.4f}"
