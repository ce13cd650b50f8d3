"""Data of MER-Caption's kind (manifests, shards, streaming and batches), and the test sets of MER-UniBench.

``affectgpt.datamodules.collate`` is the module; its function is ``affectgpt.datamodules.collate.collate``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "MERCaptionDataModule": "affectgpt.datamodules.mercaption",
    "PackReport": "affectgpt.datamodules.shards",
    "Mer2025": "affectgpt.datamodules.mer2025",
    "Record": "affectgpt.datamodules.schema",
    "ShardIndex": "affectgpt.datamodules.index",
    "ShardStream": "affectgpt.datamodules.stream",
    "UniBenchDataModule": "affectgpt.datamodules.unibench.module",
    "pack": "affectgpt.datamodules.shards",
    "ShardWriter": "affectgpt.datamodules.writer",
    "Sample": "affectgpt.datamodules.tar_writer",
    "read_index": "affectgpt.datamodules.index",
    "read_manifest": "affectgpt.datamodules.manifests",
}

if TYPE_CHECKING:
    from affectgpt.datamodules.index import ShardIndex, read_index
    from affectgpt.datamodules.manifests import read_manifest
    from affectgpt.datamodules.mer2025 import Mer2025
    from affectgpt.datamodules.mercaption import MERCaptionDataModule
    from affectgpt.datamodules.schema import Record
    from affectgpt.datamodules.shards import PackReport, pack
    from affectgpt.datamodules.stream import ShardStream
    from affectgpt.datamodules.tar_writer import Sample
    from affectgpt.datamodules.unibench.module import UniBenchDataModule
    from affectgpt.datamodules.writer import ShardWriter

__all__ = [
    "MERCaptionDataModule",
    "Mer2025",
    "PackReport",
    "Record",
    "Sample",
    "ShardIndex",
    "ShardStream",
    "ShardWriter",
    "UniBenchDataModule",
    "pack",
    "read_index",
    "read_manifest",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.datamodules' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
