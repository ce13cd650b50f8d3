"""Counts bad samples over all ranks, and stops a run that has too many."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from affectgpt.errors import CheckpointError, ConfigError, DataError
from affectgpt.files import write_lines
from affectgpt.streaming.stream import BadSample

log = logging.getLogger(__name__)


def check_fraction(fraction: float) -> float:
    """Read ``bad_sample_budget``, the share of the samples that may be bad.

    Raises:
        ConfigError: If it is not at least 0 and below 1.
    """
    if not 0 <= fraction < 1:
        raise ConfigError(f"bad_sample_budget={fraction}: give a fraction of the samples, such as 0.001, or 0")
    return fraction


def check_share(bad: int, num_samples: int, fraction: float, last: str, remedy: str) -> None:
    """Raise an error if there are too many bad samples.

    Args:
        bad: Number of bad samples.
        num_samples: Number of all samples.
        fraction: Share of them that may be bad.
        last: The fault of the last one; empty if it is not known here.
        remedy: What to do.

    Raises:
        DataError: If more are bad than ``fraction`` allows.
    """
    if bad > int(fraction * num_samples):
        raise DataError(
            f"{bad} of {num_samples} samples are bad, but bad_sample_budget={fraction:g} allows "
            f"{int(fraction * num_samples)}. {f'The last one: {last}. ' if last else ''}{remedy}"
        )


class BadSampleBudget:
    """The bad samples of a run, each counted once for all epochs and ranks.

    Args:
        fraction: Share of the samples that may be bad; 0 for none.
        report_name: Name of the file that lists them.

    Raises:
        ConfigError: If ``fraction`` is not at least 0 and below 1.
    """

    def __init__(self, fraction: float, report_name: str = "bad_samples.jsonl") -> None:
        self.fraction = check_fraction(fraction)
        self.report_name = report_name
        self.num_samples = 0
        self.report: Path | None = None
        self._known: dict[tuple[int, ...], dict[str, Any]] = {}  # by address: names may come twice
        self._fresh: list[dict[str, Any]] = []

    @property
    def allowed(self) -> int:
        """Number of samples that may be bad."""
        return int(self.fraction * self.num_samples)

    @property
    def found(self) -> int:
        """Number of known bad samples, on all ranks as of the last exchange."""
        return len(self._known)

    def note(self, bad: BadSample, epoch: int, replaced_by: str | None) -> None:
        """Record a bad sample.

        Args:
            bad: The sample.
            epoch: Epoch in which it was met.
            replaced_by: Key of the sample read in its place, or ``None`` where the reserve was empty or there is none.
        """
        if bad.address in self._known:
            return
        record = {**asdict(bad), "address": list(bad.address), "epoch": epoch, "replaced_by": replaced_by}
        self._known[bad.address] = record
        self._fresh.append(record)
        instead = f"{replaced_by!r} replaces it" if replaced_by else "nothing is left to read in its place"
        log.warning("bad sample %r in %s: %s; %s", bad.key, bad.shard, bad.reason, instead)

    def meet(self) -> None:
        """Merge the bad samples of all ranks; every rank must call this at the same step.

        Rank 0 writes the report.
        """
        found = [self._fresh]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            found = [[] for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(found, self._fresh)
        for record in (record for records in found for record in records):
            self._known.setdefault(tuple(record["address"]), record)
        self._fresh = []
        if any(found) and self.report is not None:
            write_lines(self.report, (json.dumps(record, ensure_ascii=False) for record in self._known.values()))

    def check(self) -> None:
        """Raise an error if there are too many.

        Raises:
        DataError: If more samples are bad than the budget allows.
        """
        if self.found > self.allowed:
            listed = f"All are in {str(self.report)!r}. " if self.report else ""
            remedy = f"{listed}Find them all with check, pack the set again without them, or raise the budget"
            check_share(self.found, self.num_samples, self.fraction, list(self._known.values())[-1]["reason"], remedy)

    def to_json(self) -> list[Mapping[str, Any]]:
        """Plain JSON, for a checkpoint."""
        return list(self._known.values())

    def restore(self, saved: Any) -> None:
        """Restore the result of ``to_json``.

        Raises:
            CheckpointError: If it is something else.
        """
        if not isinstance(saved, list):
            raise CheckpointError(f"its bad samples are a {type(saved).__name__}, expected a list of records")
        self._known = {tuple(record["address"]): record for record in map(_read_record, saved)}
        self._fresh = []


_TEXTS = ("key", "shard", "code", "reason")


def _read_record(saved: Any) -> dict[str, Any]:
    """The record of a bad sample in a checkpoint.

    Raises:
        CheckpointError: If it is none.
    """
    record = dict(saved) if isinstance(saved, Mapping) else {}
    address = record.get("address")
    fits = {
        "address": isinstance(address, list) and len(address) == 3 and all(type(number) is int for number in address),
        **{name: isinstance(record.get(name), str) for name in _TEXTS},
        "epoch": type(record.get("epoch")) is int,
        "replaced_by": isinstance(record.get("replaced_by"), str | None),
    }
    wrong = [name for name, is_right in fits.items() if not is_right]
    if wrong:
        raise CheckpointError(
            f"the record of a bad sample has no {wrong[0]!r} of the right kind: {str(saved)[:200]!r}; another version "
            "wrote it, or the file was changed"
        )
    return {name: record.get(name) for name in fits}
