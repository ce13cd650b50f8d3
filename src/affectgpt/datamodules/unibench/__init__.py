"""The test sets of MER-UniBench: reading them from disk, and their datamodule."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "BenchSample": "affectgpt.datamodules.unibench.samples",
    "BenchSet": "affectgpt.datamodules.unibench.samples",
    "TEST_SETS": "affectgpt.datamodules.unibench.sets",
    "TestSet": "affectgpt.datamodules.unibench.sets",
    "UniBenchDataModule": "affectgpt.datamodules.unibench.module",
    "find_sets": "affectgpt.datamodules.unibench.finding",
    "read_set": "affectgpt.datamodules.unibench.finding",
}

if TYPE_CHECKING:
    from affectgpt.datamodules.unibench.finding import find_sets, read_set
    from affectgpt.datamodules.unibench.module import UniBenchDataModule
    from affectgpt.datamodules.unibench.samples import BenchSample, BenchSet
    from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet

__all__ = ["TEST_SETS", "BenchSample", "BenchSet", "TestSet", "UniBenchDataModule", "find_sets", "read_set"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.datamodules.unibench' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
