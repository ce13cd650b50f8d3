"""Builds a network's shapes first and reads its weights later, tensor by tensor, each rank its own share.

Within ``deferring()`` the parts that read a network from a folder of safetensors build it without weights, and note
where each tensor lies. Once the model is sharded, ``read_deferred`` reads from every file just the rows that this rank
keeps. So no rank ever holds the whole of a network that is larger than its memory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

log = logging.getLogger(__name__)

MAX_INDEX_BYTES = 2**26
RENAMED = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
"""Weight normalisation, as torch names its two tensors, to how older files name them."""


@dataclass(frozen=True)
class Entry:
    """A tensor that is not read yet.

    Attributes:
        owner: The module that has it; it stays the same object when the model is wrapped or sharded.
        attribute: The tensor's name there.
        file: The safetensors file.
        key: Its name in the file.
        cut: What is read of it, a slice for each of its first dimensions; all of it by default.
    """

    owner: nn.Module
    attribute: str
    file: Path
    key: str
    cut: tuple[slice, ...] = ()


@dataclass
class DeferredWeights:
    """What was built without weights; see ``deferring``.

    Attributes:
        entries: Every tensor that is yet to be read.
    """

    entries: list[Entry] = field(default_factory=list)

    def shapes_of(self, build: Callable[[], Any], path: str, revision: str | None) -> Any:
        """Build a network without weights, if its files can be read tensor by tensor.

        Args:
            build: Makes the network with any weights.
            path: Local folder, or id on the hub.
            revision: Branch, tag or commit on the hub.

        Returns:
            The network; ``None`` where the files do not lend themselves to it, and must be read as a whole.
        """
        try:
            files = _files_of(path, revision)
        except (OSError, ValueError) as error:
            log.warning("%s is read whole on every rank: %s", path, error)
            return None
        with _on_meta():
            network = build()
        entries, missing = _entries_of(network, files)
        if missing:
            log.warning("%s is read whole on every rank: its files name no %r", path, missing[0])
            return None
        self.entries += entries
        return network


_DEFERRED: ContextVar[DeferredWeights | None] = ContextVar("deferred weights", default=None)


@contextmanager
def deferring() -> Iterator[DeferredWeights]:
    """Within it, networks are built without weights where they can be."""
    found = DeferredWeights()
    token = _DEFERRED.set(found)
    try:
        yield found
    finally:
        _DEFERRED.reset(token)


@contextmanager
def reading_at_once() -> Iterator[None]:
    """Within it, networks are read with their weights, also inside ``deferring()``."""
    token = _DEFERRED.set(None)
    try:
        yield
    finally:
        _DEFERRED.reset(token)


def network_without_weights(build: Callable[[], Any], path: str, revision: str | None) -> Any:
    """A network whose weights are read later, see ``DeferredWeights.shapes_of``; ``None`` outside of ``deferring``."""
    collector = _DEFERRED.get()
    return None if collector is None else collector.shapes_of(build, path, revision)


def take_deferred() -> list[Entry]:
    """The tensors that were left to be read since the last call; the model that has them keeps the list."""
    collector = _DEFERRED.get()
    if collector is None:
        return []
    taken, collector.entries = collector.entries, []
    return taken


@torch.no_grad()
def read_deferred(entries: list[Entry], device: torch.device) -> list[Entry]:
    """Read this rank's share of every tensor.

    Args:
        entries: What ``take_deferred`` gave.
        device: Where tensors go that have no device of their own yet.

    Returns:
        What is left to be read: nothing.
    """
    from safetensors import safe_open

    done: set[int] = set()
    by_file: dict[Path, list[Entry]] = {}
    for entry in entries:
        by_file.setdefault(entry.file, []).append(entry)
    for file, there in by_file.items():
        with safe_open(file, framework="pt") as tensors:
            for entry in there:
                target = getattr(entry.owner, entry.attribute)
                if id(target) in done:  # two names of one tensor
                    continue
                done.add(id(target))
                _read(target, tensors.get_slice(entry.key), entry.cut, device)
    return []


def _read(target: Tensor, stored: Any, cut: tuple[slice, ...], device: torch.device) -> None:
    if not isinstance(target, DTensor):
        whole = (stored[cut].clone() if cut else stored[...]).to(target.dtype)
        if target.is_meta:
            made: Tensor = whole.to(device)
            if isinstance(target, nn.Parameter):
                made = nn.Parameter(made, requires_grad=target.requires_grad)
            torch.utils.swap_tensors(target, made)
        else:
            target.copy_(whole)
        return
    local = _rows(stored, target).to(target.dtype)
    share = DTensor.from_local(
        local.to(device), target.device_mesh, target.placements, run_check=False, shape=target.shape,
        stride=target.stride(),
    )  # fmt: skip
    torch.utils.swap_tensors(target, nn.Parameter(share, requires_grad=target.requires_grad))


def _rows(stored: Any, target: DTensor) -> Tensor:
    """This rank's share of a stored tensor; only its bytes are read."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
    if not target.ndim:
        return torch.as_tensor(stored[...])
    if 0 in shape:
        return torch.empty(shape, dtype=target.dtype)
    found: Tensor = stored[tuple(slice(start, start + length) for start, length in zip(offset, shape, strict=True))]
    return found.clone()  # else a view of the mapped file


@contextmanager
def _on_meta() -> Iterator[None]:
    """Parameters are made without memory; buffers, which are computed and not read, are made as ever."""
    register = nn.Module.register_parameter

    def without_memory(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(module, name, param)
        if param is not None and not param.is_meta:
            module._parameters[name] = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)

    nn.Module.register_parameter = without_memory  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _entries_of(network: Any, files: dict[str, Path]) -> tuple[list[Entry], list[str]]:
    """Where every tensor of a network lies, and the names of those that lie nowhere."""
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    entries, missing = [], []
    found: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        owner, _, attribute = name.rpartition(".")
        near = [name, prefix + name, name.removeprefix(prefix)]
        near += [one.replace(new, old) for one in near for new, old in RENAMED.items() if new in one]
        key = next((one for one in near if one in files), None)
        if key is not None:
            entries.append(Entry(network.get_submodule(owner), attribute, files[key], key))
            found.add(id(tensor))
        elif name.endswith("masked_spec_embed"):  # read by SpecAugment alone, which is off
            network.get_submodule(owner)._parameters[attribute] = nn.Parameter(torch.zeros(tensor.shape))
        else:
            missing.append((name, id(tensor)))
    return entries, [name for name, tensor in missing if tensor not in found]  # a tied tensor is stored under one name


def _files_of(path: str, revision: str | None) -> dict[str, Path]:
    """Name of every stored tensor to its safetensors file.

    Raises:
        ValueError: If there are none.
        OSError: If they cannot be read.
    """
    from safetensors import SafetensorError, safe_open
    from transformers.utils import cached_file

    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    index = cached_file(path, "model.safetensors.index.json", revision=revision, **quiet)
    if index is not None:
        if Path(index).stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"{index} is too large to be an index of weights")
        names = sorted(set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    found: dict[str, Path] = {}
    for name in names:
        file = cached_file(path, name, revision=revision, **quiet)
        if file is None:
            raise ValueError(f"it has no {name}")
        try:
            with safe_open(file, framework="pt") as tensors:
                found |= dict.fromkeys(tensors.keys(), Path(file))
        except SafetensorError as error:
            raise ValueError(f"{file} cannot be read ({error})") from error
    return found
