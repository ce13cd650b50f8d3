"""MER-UniBench: its nine test sets, answered and scored, and the scoring of prediction files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Benchmark": "affectgpt.bench.benchmark",
    "TEST_SETS": "affectgpt.bench.sets",
    "TestSet": "affectgpt.bench.sets",
    "compare": "affectgpt.bench.comparing",
    "published_rows": "affectgpt.bench.published",
    "read_gold": "affectgpt.bench.files",
    "read_predictions": "affectgpt.bench.files",
    "score": "affectgpt.bench.scoring",
    "write_openset": "affectgpt.bench.submission",
    "write_report": "affectgpt.bench.report.write",
}

if TYPE_CHECKING:
    from affectgpt.bench.benchmark import Benchmark
    from affectgpt.bench.comparing import compare
    from affectgpt.bench.files import read_gold, read_predictions
    from affectgpt.bench.published import published_rows
    from affectgpt.bench.report.write import write_report
    from affectgpt.bench.scoring import score
    from affectgpt.bench.sets import TEST_SETS, TestSet
    from affectgpt.bench.submission import write_openset

__all__ = [
    "TEST_SETS",
    "Benchmark",
    "TestSet",
    "compare",
    "published_rows",
    "read_gold",
    "read_predictions",
    "score",
    "write_openset",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.bench' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
