"""Logs figures as a table, and keeps the table of an earlier start in the same folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger

FIGURES = "metrics.csv"


class TableLogger(CSVLogger):
    """Lightning's ``CSVLogger``, which deletes the table that it finds in its folder, without that.

    SLURM gives a job that it queues again its old number, by which the folder of the log is named. The table of the
    earlier start is kept as ``metrics-1.csv``, and so on. Every figure is on the disk when it is logged.

    Args:
        save_dir: See ``CSVLogger``.
        options: See ``CSVLogger``.
    """

    def __init__(self, save_dir: str | Path, **options: Any) -> None:
        super().__init__(save_dir, flush_logs_every_n_steps=1, **options)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the table, begun at its first use."""
        if self._experiment is None:
            keep_table(Path(self.log_dir))
        return super().experiment


def keep_table(folder: Path) -> None:
    """Rename the table in a folder, if there is one, after those of earlier starts."""
    if (folder / FIGURES).is_file():
        (folder / FIGURES).rename(folder / f"metrics-{len(earlier_tables(folder)) + 1}.csv")


def earlier_tables(folder: Path) -> list[Path]:
    """The tables of earlier starts, the first one first."""
    numbered = {path.stem.removeprefix("metrics-"): path for path in folder.glob("metrics-*.csv")}
    return [numbered[number] for number in sorted((name for name in numbered if name.isdigit()), key=int)]
