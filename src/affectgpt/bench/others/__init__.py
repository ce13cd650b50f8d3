"""Other benchmarks on which AffectGPT is listed: MIntRec, HitEmotion and EEmo-Bench."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "OTHERS": "affectgpt.bench.others.table",
    "OtherTask": "affectgpt.bench.others.table",
    "question_of": "affectgpt.bench.others.table",
    "score_other": "affectgpt.bench.others.scoring",
}

if TYPE_CHECKING:
    from affectgpt.bench.others.scoring import score_other
    from affectgpt.bench.others.table import OTHERS, OtherTask, question_of

__all__ = ["OTHERS", "OtherTask", "question_of", "score_other"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.bench.others' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
