"""Shards a model over processes with FSDP2."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard


def shard_model(root: nn.Module, units: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Shard the units one by one, then what is left of the root, in place.

    Only modules whose ``forward`` returns plain tensors or tuples may be units: FSDP2 does not find the
    tensors in other results, and would free the weights before the backward pass needs them.

    Args:
        root: The model; its ``forward`` must be the only method that callers use to run it.
        units: Submodules to shard one by one, such as transformer layers, innermost first.
        mesh: One-dimensional mesh of the processes that share the weights.
    """
    for unit in units:
        fully_shard(unit, mesh=mesh)
    fully_shard(root, mesh=mesh)
