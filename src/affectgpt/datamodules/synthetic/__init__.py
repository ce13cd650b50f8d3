"""A small corpus of drawn faces with synthesised voices, made on the spot: synthetic, for demonstrations and tests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "STATES": "affectgpt.datamodules.synthetic.states",
    "SyntheticState": "affectgpt.datamodules.synthetic.states",
    "make_corpus": "affectgpt.datamodules.synthetic.corpus",
}

if TYPE_CHECKING:
    from affectgpt.datamodules.synthetic.corpus import make_corpus
    from affectgpt.datamodules.synthetic.states import STATES, SyntheticState

__all__ = ["STATES", "SyntheticState", "make_corpus"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
