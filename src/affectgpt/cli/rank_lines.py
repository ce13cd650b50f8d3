"""Marks the log lines of a distributed run with their rank, and says once what every rank would say."""

from __future__ import annotations

import logging
import os
import sys
import warnings

OWN = (
    "affectgpt.streaming",
    "affectgpt.datamodules",
    "affectgpt.shards",
    "affectgpt.media",
    "affectgpt.web",
    "affectgpt.training.halving",
)
"""Loggers that speak of what one rank alone reads or does; what others warn of concerns all ranks alike."""


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of ranks, as torch or the launcher's environment says; ``(0, 1)`` alone."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    rank = _number("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return rank, max(_number("WORLD_SIZE", "SLURM_NTASKS"), rank + 1)


def rank_mark() -> str:
    """``rank 1: `` in front of a line; empty where there is one process."""
    rank, world = rank_and_world()
    return "" if world == 1 else f"rank {rank}: "


class RankFilter(logging.Filter):
    """Gives every record its mark, as ``rank_mark``; lets warnings pass on the first rank only, errors on all.

    Warnings of the loggers in ``OWN`` pass on every rank.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        record.rank_mark = rank_mark()
        return record.levelno >= logging.ERROR or record.name.startswith(OWN) or rank_and_world()[0] == 0


def leave_warnings_to_first_rank() -> None:
    """Silence Python's warnings on the other ranks, where they are copies."""
    if rank_and_world()[0] > 0:
        warnings.simplefilter("ignore")


def _number(*names: str) -> int:
    return next((int(value) for name in names if (value := os.environ.get(name, "")).isdigit()), 0)
