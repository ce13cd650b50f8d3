"""Lets all ranks end together where one of them cannot set its data up, such as on a machine that lacks a disk."""

from __future__ import annotations

from typing import Any

import lightning
import torch

from affectgpt.errors import AffectGPTError, RankError


class DataSetup:
    """Stands in for the ``setup`` of a datamodule, after which the ranks tell each other of their problems.

    The trainer sets data up before any callback is called. A rank that ended there would leave the others waiting for
    it, without a word, until an exchange times out.

    Args:
        datamodule: The datamodule, whose ``setup`` is replaced.
    """

    def __init__(self, datamodule: lightning.LightningDataModule) -> None:
        self._setup = datamodule.setup
        datamodule.setup = self  # type: ignore[method-assign]

    def __call__(self, stage: str) -> None:
        """Set up.

        Raises:
            RankError: If another rank has a problem; the first one is named, with its words.
        """
        own: Exception | None = None
        try:
            self._setup(stage)
        except (AffectGPTError, OSError) as error:
            own = error
        found = _of_all(None if own is None else str(own))
        if own is not None:
            raise own
        if found:
            rank, words = next(iter(found.items()))
            raise RankError(f"{len(found)} of the ranks cannot set up their data, such as rank {rank}: {words}")


def _of_all(problem: str | None) -> dict[int, str]:
    """The problems of all ranks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return {} if problem is None else {0: problem}
    problems: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(problems, problem)
    return {rank: words for rank, words in enumerate(problems) if words is not None}
