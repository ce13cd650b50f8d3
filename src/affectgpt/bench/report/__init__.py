"""The report of a benchmark: JSON, Markdown, CSV and one self-contained page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectgpt.bench.report.report_files import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'affectgpt.bench.report' has no attribute {name!r}")
    return getattr(import_module("affectgpt.bench.report.report_files"), name)
