"""A checkpoint in shards: a folder into which every rank writes its own share, and which any number of ranks reads.

The tensors lie in the format of ``torch.distributed.checkpoint``; ``meta.pt`` has everything else. Only what the parts
do not read from files of their own is in it, so that the folder of a model with adapters is as small as its one file.
The folder is written beside the one that it replaces, and takes its name when all ranks are done. Neither file runs
code when it is read.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from affectgpt.errors import CheckpointError, reason_of
from affectgpt.files import bring_back_folder

FACTS = "meta.pt"
INDEX = ".metadata"
MAX_INDEX_BYTES = 2**30
WEIGHTS = "state_dict."
"""How the names of weights begin in the index; those of an optimiser's moments begin otherwise."""

_KNOWN = frozenset(
    {
        *(
            ("torch.distributed.checkpoint.metadata", name)
            for name in (
                *("Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata"),
                *("ChunkStorageMetadata", "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING"),
            )
        ),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch", "Size"),
        ("torch.serialization", "_get_layout"),
        ("collections", "OrderedDict"),
        ("pathlib", "PosixPath"),
    }
)
"""What the index may name: plain records, none of which does anything when it is made."""


def is_shard_folder(path: str | Path) -> bool:
    """Whether a checkpoint in shards lies there; one whose renaming was cut short is given its name first."""
    path = Path(path)
    bring_back_folder(path, hidden_name(path))
    return (path / INDEX).is_file() and (path / FACTS).is_file()


def read_facts(path: str | Path) -> dict[str, Any]:
    """What a checkpoint in shards holds beside its tensors.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        facts = torch.load(Path(path) / FACTS, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{Path(path) / FACTS} cannot be read ({reason_of(error)})") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{Path(path) / FACTS} holds a {type(facts).__name__}, not the facts of a checkpoint")
    return facts


def names_in(path: str | Path) -> set[str]:
    """Names of all that the index lists; those of weights begin with ``WEIGHTS``.

    Raises:
        CheckpointError: If the index cannot be read.
    """
    return set(_Reader(path).read_metadata().state_dict_metadata)


def read_into(path: str | Path, tensors: dict[str, Any], *, together: bool) -> None:
    """Fill tensors in place, on each rank its own share.

    Args:
        path: The folder.
        tensors: Nested as they were written; all of them must be there.
        together: Whether all ranks read at once; else this process reads alone.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        with _alone_or_not():
            load(tensors, storage_reader=_Reader(path), planner=_PlainLoad(), no_dist=not together)
    except (CheckpointException, OSError, RuntimeError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} cannot be read ({system_reason(error)}); a file is missing or cut") from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """All weights in a checkpoint, whole, on the CPU.

    Raises:
        CheckpointError: If it cannot be read.
    """
    listed = _Reader(path).read_metadata().state_dict_metadata
    weights = {
        name.removeprefix(WEIGHTS): torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in listed.items()
        if name.startswith(WEIGHTS) and isinstance(entry, TensorStorageMetadata)
    }
    read_into(path, {"state_dict": weights}, together=False)
    return weights


class _Reader(FileSystemReader):
    """Reads the index without making anything but plain records."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        file = Path(self.path) / INDEX
        try:
            if file.stat().st_size > MAX_INDEX_BYTES:
                raise CheckpointError(f"{file} is too large to be the index of a checkpoint")
            metadata = _Records(io.BytesIO(file.read_bytes())).load()
        except (pickle.UnpicklingError, EOFError, OSError, ValueError, AttributeError, TypeError, IndexError) as error:
            raise CheckpointError(f"{file} cannot be read as the index of a checkpoint ({reason_of(error)})") from error
        if not isinstance(metadata, Metadata) or not isinstance(metadata.state_dict_metadata, dict):
            raise CheckpointError(f"{file} is not the index of a checkpoint")
        for entry in (metadata.storage_data or {}).values():
            name = str(entry.relative_path)
            if Path(name).name != name:
                raise CheckpointError(f"{file} names a file outside of its folder, {name!r}; do not use it")
        return metadata


class _Records(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no index of ours does")


class _PlainLoad(DefaultLoadPlanner):
    """Reads numbers and texts as plain values, where torch would run what stands there."""

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        plain = io.BytesIO()
        torch.save(torch.load(value, weights_only=True), plain)
        plain.seek(0)
        super().load_bytes(read_item, plain)


def system_reason(error: BaseException) -> str:
    """The system's own words, where they are somewhere inside of an error."""
    inside = list(getattr(error, "failures", {}).values())
    for found in [error, *(pair[0] if isinstance(pair, tuple) else pair for pair in inside)]:
        while found is not None:
            if isinstance(found, OSError) and found.strerror:
                return str(found.strerror)
            found = found.__cause__ or found.__context__
    return reason_of(error)


@contextmanager
def _alone_or_not() -> Iterator[None]:
    """One process alone is what is meant where there are no ranks; torch would warn of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        yield


def hidden_name(path: Path) -> Path:
    """Where a folder lies while another one takes its name."""
    return path.with_name(f".{path.name}-replaced")
