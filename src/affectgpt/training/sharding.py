"""Shards a model over processes with FSDP2, and keeps its checkpoints in shards."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.optim import Optimizer

from affectgpt.checkpoints.shard_folder import (
    WEIGHTS,
    is_shard_folder,
    names_in,
    read_facts,
    read_into,
)
from affectgpt.checkpoints.shard_writer import ShardWriter
from affectgpt.errors import CheckpointError, ConfigError, first_few

log = logging.getLogger(__name__)

GROUPS = "optimizer_groups"
"""Where a checkpoint in shards keeps the settings of the optimisers; the shards have their moments."""


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2: every rank holds a share of each layer, and layers are gathered while they run.

    ``trainer.strategy: fsdp2``, or with its arguments ``{class_path: affectgpt.training.sharding.ShardedStrategy,
    init_args: {...}}``. It takes all devices; the number of ranks may change between a checkpoint and its resumption.

    Args:
        cpu_offload: Keep the shares of weights, gradients and moments in the host's memory; slow, and for models that
            do not fit otherwise.
        shards: Write checkpoints as folders into which each rank writes its share; else the first rank writes one file.
        background: Go on training while shards are written. The host then holds a copy of each rank's share meanwhile,
            and a checkpoint waits for the one before.
        process_group_backend: ``nccl``, ``gloo``; by default what suits the device.
        timeout_seconds: How long ranks wait for each other in an exchange.
    """

    def __init__(
        self,
        cpu_offload: bool = False,
        shards: bool = True,
        background: bool = False,
        process_group_backend: str | None = None,
        timeout_seconds: float = 1800.0,
    ) -> None:
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
            timeout=timedelta(seconds=timeout_seconds),
        )
        self.cpu_offload = cpu_offload
        self.shards = shards
        if background and not shards:
            raise ConfigError(
                "background=True writes shards in the background, but shards=False; leave one of them out"
            )
        self.background = background
        self._writer: ShardWriter | None = None

    def setup_environment(self) -> None:
        """Take all devices for data parallelism; Lightning's default would take the nodes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def model_to_device(self) -> None:
        """Move the model, but for shares that are kept on the host."""
        if not self.cpu_offload:
            super().model_to_device()
            return
        assert self.model is not None
        for module in self.model.modules():
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer.to(self.root_device)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """This rank's shares of the weights; or all weights on the first rank, for one file."""
        if not self.shards:
            return super().lightning_module_state_dict()
        assert self.model is not None
        return get_model_state_dict(self.model, options=StateDictOptions(cpu_offload=True))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """This rank's shares of the moments, by the names of their weights; or all, for one file."""
        if not self.shards:
            return super().optimizer_state(optimizer)
        assert self.model is not None
        optimizer = getattr(optimizer, "_optimizer", optimizer)
        return get_optimizer_state_dict(self.model, optimizer, options=StateDictOptions(cpu_offload=True))

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: _PATH, storage_options: Any | None = None) -> None:
        """Write a checkpoint whole or not at all; every rank must call it.

        Raises:
            CheckpointError: If it cannot be written.
        """
        if not self.shards:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        path = Path(self.broadcast(filepath))
        states = checkpoint.pop("optimizer_states", [])
        tensors = {"state_dict": checkpoint.pop("state_dict")}
        tensors |= {f"optimizer_{number}": state["state"] for number, state in enumerate(states)}
        facts = {**checkpoint, GROUPS: [state["param_groups"] for state in states]}
        if self._writer is None:
            group = torch.distributed.new_group(backend="gloo") if self.background else None
            self._writer = ShardWriter(self.global_rank, self.barrier, background=self.background, group=group)
        self._writer.write(tensors, facts, path)

    def remove_checkpoint(self, filepath: _PATH) -> None:
        """Remove a checkpoint; not before the one that is being written is whole."""
        if self._writer is None or not self._writer.remove(Path(filepath)):
            super().remove_checkpoint(filepath)

    def teardown(self) -> None:
        """Wait for the last checkpoint.

        Raises:
            CheckpointError: If it could not be written.
        """
        if self._writer is not None:
            self._writer.finish()
            self._writer = None
        super().teardown()

    def load_checkpoint(self, checkpoint_path: _PATH, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, in shards or in one file, on any number of ranks; every rank must call it.

        Raises:
            CheckpointError: If it cannot be read, or has not the tensors that are trained here.
        """
        path = Path(self.broadcast(checkpoint_path))
        if self._writer is not None:
            self._writer.finish()
            self.barrier()
        if not is_shard_folder(path):
            return super().load_checkpoint(path, weights_only)
        assert self.model is not None
        listed, facts = names_in(path), read_facts(path)
        weights = {k: v for k, v in get_model_state_dict(self.model).items() if WEIGHTS + k in listed}
        read_into(path, {"state_dict": weights}, together=True)
        self.model.load_state_dict(weights, strict=False)
        groups = facts.pop(GROUPS, [])
        for number, optimizer in enumerate(self.optimizers[: len(groups)]):
            self._take_moments(path, f"optimizer_{number}", optimizer, listed)
        # names alone: whoever compares them does not need the tensors
        facts["state_dict"] = dict.fromkeys(name.removeprefix(WEIGHTS) for name in listed if name.startswith(WEIGHTS))
        facts["optimizer_states"] = [{"state": {}, "param_groups": found} for found in groups]
        return facts

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take over the settings of the optimisers; their moments are there already."""
        for optimizer, state in zip(self.optimizers, checkpoint.get("optimizer_states", ()), strict=False):
            for group, stored in zip(optimizer.param_groups, state["param_groups"], strict=True):
                group.update({name: value for name, value in stored.items() if name not in ("params", "param_names")})

    def _take_moments(self, path: Path, name: str, optimizer: Optimizer, listed: set[str]) -> None:
        assert self.model is not None
        optimizer = getattr(optimizer, "_optimizer", optimizer)
        state: dict[str, Any] = get_optimizer_state_dict(self.model, optimizer)
        here = {f"{name}.{weight}.{key}" for weight, moments in state["state"].items() for key in moments}
        there = {one for one in listed if one.startswith(f"{name}.")}
        if here != there:
            other = sorted(one.removeprefix(f"{name}.").rpartition(".")[0] for one in here ^ there)
            raise CheckpointError(
                f"{path} holds moments of other tensors than those that this configuration trains "
                f"({first_few(dict.fromkeys(other), 3)}): it has another 'trainable' or 'lora'. Give it as it was, or "
                "begin from the weights alone with --start"
            )
        read_into(path, {name: state["state"]}, together=True)
        set_optimizer_state_dict(self.model, optimizer, optim_state_dict=state)


StrategyRegistry.register("fsdp2", ShardedStrategy, description="every rank holds a share of each layer (FSDP2)")


def shard_model(root: nn.Module, units: Iterable[nn.Module], strategy: Any) -> None:
    """Shard the units one by one, then what is left of the root, in place.

    Only modules whose ``forward`` returns plain tensors or tuples may be units, or such as are frozen: FSDP2 does not
    find the tensors in other results, and would free the weights before the backward pass needs them.

    Args:
        root: The model; its ``forward`` must be the only way in.
        units: Transformer layers and the like, innermost first.
        strategy: A ``ModelParallelStrategy`` of the trainer, whose ranks share the weights.

    Raises:
        ConfigError: If the strategy asks for tensor parallelism, or weights are in 4 bits.
    """
    mesh = strategy.device_mesh
    if mesh["tensor_parallel"].size() > 1:
        raise ConfigError(
            f"the strategy asks for tensor parallelism over {mesh['tensor_parallel'].size()} devices and for FSDP2, "
            "which do not go together here: use the strategy tensor_parallel, with plain copies of each group, or fsdp2"
        )
    packed = [name for name, parameter in root.named_parameters() if not parameter.is_floating_point()]
    if packed:
        raise ConfigError(
            f"{packed[0]} and {len(packed) - 1} more weights are in 4 bits (quantize), which ranks cannot share; use "
            "ddp, or leave quantize out"
        )
    offload = OffloadPolicy()
    if getattr(strategy, "cpu_offload", False):
        offload = CPUOffloadPolicy(pin_memory=torch.cuda.is_available())
    # a change in place would spoil the others that share its memory; nobody changes what the model returns
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    for unit in units:
        fully_shard(unit, mesh=mesh["data_parallel"], offload_policy=offload)
    fully_shard(root, mesh=mesh["data_parallel"], offload_policy=offload)
