"""Tensor parallelism: groups of ranks hold one language model together, and learn from the same batches."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from affectgpt.deferred_weights import Entry
from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.lightning_privates import give_mesh
from affectgpt.llm.split_linear import SplitLinear, TensorShare
from affectgpt.training.compile_parts import CompileParts
from affectgpt.types import Batch


class TensorParallelStrategy(DDPStrategy):
    """Each of ``tensor_parallel_size`` ranks holds a share of the language model's layers; groups are copies (DDP).

    ``trainer.strategy: tensor_parallel``, or with its arguments ``{class_path:
    affectgpt.training.tensor_parallel.TensorParallelStrategy, init_args: {...}}``. The ranks of a group read the same
    batches; neighbouring ranks are a group, so that it lies on one node. All that is trained, and all that is frozen
    outside of the split layers, is whole on every rank.

    Gradients are averaged over all ranks, as DDP does: those that the ranks of a group have alike stay as they are, and
    of an adapter, of whose gradient each has a share, ``SplitLinear.adapter`` counts the shares accordingly.

    Args:
        tensor_parallel_size: Ranks of a group.
        process_group_backend: ``nccl``, ``gloo``; by default what suits the device.
        timeout_seconds: How long ranks wait for each other in an exchange.

    Raises:
        ConfigError: If the size is below 2; at the start of a run, if the ranks do not divide into groups, or the model
            or what is asked of the trainer cannot be split.
    """

    def __init__(
        self, tensor_parallel_size: int = 2, process_group_backend: str | None = None, timeout_seconds: float = 1800.0
    ) -> None:
        if tensor_parallel_size < 2:
            raise ConfigError(
                f"tensor_parallel_size={tensor_parallel_size}, but a group has 2 ranks or more; use the strategy ddp "
                "to give every rank the whole model"
            )
        super().__init__(process_group_backend=process_group_backend, timeout=timedelta(seconds=timeout_seconds))
        self.tensor_parallel_size = tensor_parallel_size
        self._peers: Any = None

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Number of groups, and this rank's: a group reads one share of the data."""
        size = self.tensor_parallel_size
        return {"num_replicas": self.num_nodes * self.num_processes // size, "rank": self.global_rank // size}

    def setup_environment(self) -> None:
        """Connect the ranks, and form the groups.

        Raises:
            ConfigError: If the ranks do not divide into groups.
        """
        size, ranks = self.tensor_parallel_size, self.num_nodes * self.num_processes
        if ranks % size:
            raise ConfigError(
                f"{ranks} ranks do not divide into groups of tensor_parallel_size={size}; give trainer.devices a "
                "multiple of it"
            )
        super().setup_environment()
        mesh = init_device_mesh(
            self.root_device.type, (ranks // size, size), mesh_dim_names=("data_parallel", "tensor_parallel")
        )
        assert self.lightning_module is not None
        give_mesh(self.lightning_module, mesh)
        groups = [list(range(first, first + size)) for first in range(0, ranks, size)]
        self._peers, _ = torch.distributed.new_subgroups_by_enumeration(groups, backend="gloo")

    def setup(self, trainer: Any) -> None:
        """Prepare the model and its optimisers.

        Raises:
            ConfigError: If the model has nothing to split.
        """
        if getattr(getattr(self.lightning_module, "llm", None), "tensor_share", None) is None:
            raise ConfigError(
                f"{type(self.lightning_module).__name__} has no language model that ranks could split; use ddp or fsdp2"
            )
        super().setup(trainer)

    def batch_to_device(self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
        """Move a batch; every rank of a group must have the same.

        Raises:
            DataError: If one has another: a clip could be read on one rank, and not on another.
        """
        if isinstance(batch, Batch):
            self._compare(batch)
        return super().batch_to_device(batch, device, dataloader_idx)

    def _compare(self, batch: Batch) -> None:
        text = repr((batch.keys, batch.questions, batch.subtitles, batch.answers, batch.answer_ids))
        own = torch.frombuffer(bytearray(hashlib.sha256(text.encode()).digest()), dtype=torch.int64)
        everyone = [torch.empty_like(own) for _ in range(self.tensor_parallel_size)]
        torch.distributed.all_gather(everyone, own, group=self._peers)
        if any(not torch.equal(other, own) for other in everyone):
            raise DataError(
                "the ranks of a tensor-parallel group have different batches: a clip could be read on one of them, and "
                f"not on another, or the files differ between nodes. Rank {self.global_rank} has "
                f"{first_few(batch.keys)}; check the data, then resume from the last checkpoint"
            )


StrategyRegistry.register(
    "tensor_parallel", TensorParallelStrategy, description="two ranks hold the layers of the language model together"
)


def split_model(model: Any, entries: list[Entry]) -> list[Entry]:
    """Split the layers of a model's LLM over the ranks of a group, in place; only once.

    Args:
        model: An ``AffectGPT`` with its trainer, whose strategy is a ``TensorParallelStrategy``.
        entries: Tensors that are yet to be read.

    Returns:
        The same, with what this rank reads of each.

    Raises:
        ConfigError: If the model, or what is asked of the trainer, cannot be split.
    """
    mesh = model.device_mesh["tensor_parallel"]
    share = TensorShare(mesh.get_local_rank(), mesh.size(), mesh.get_group())
    before = model.llm.tensor_share
    if before is not None:
        if (before.rank, before.size) != (share.rank, share.size):
            raise ConfigError(f"the model is split into {before.size} shares already; build it anew for {share.size}")
        return entries
    _check_run(model)
    entries = model.llm.split(share, entries)
    frozen = [
        f"{name}.{attribute}"
        for name, layer in model.named_modules()
        if isinstance(layer, SplitLinear)
        for attribute in ("weight", "bias")
        if getattr(layer, attribute) is not None
    ]
    stored = sorted(set(frozen) - set(model.network.restored_keys()))
    if stored:
        raise ConfigError(
            f"a checkpoint would hold {stored[0]} and {len(stored) - 1} more weights of layers that ranks split, of "
            "which each has a share only: the language model has no files of its own, or its weights differ from them. "
            "Write it to a folder (affectgpt export) and name that as its path, or use the strategy fsdp2"
        )
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, frozen)  # it would make them all alike
    return entries


def _check_run(model: Any) -> None:
    trained = [name for name, p in model.llm.named_parameters() if p.requires_grad and ".lora_" not in name]
    if trained:
        raise ConfigError(
            f"tensor parallelism splits frozen weights, but llm.{trained[0]} is trained (trainable: true); train "
            "adapters (lora), or use the strategy fsdp2"
        )
    if model.steps.objective is not None:
        raise ConfigError(
            f"the objective {type(model.steps.objective).__name__} was not tried with tensor parallelism; use the "
            "strategy ddp or fsdp2"
        )
    if any(isinstance(one, WeightAveraging) for one in model.trainer.callbacks):
        raise ConfigError(
            "Lightning's WeightAveraging copies the model, process groups included; use the callback "
            "affectgpt.training.weight_average.WeightAverage"
        )
    if any(isinstance(one, CompileParts) and "llm" in one.parts for one in model.trainer.callbacks):
        raise ConfigError(
            "CompileParts cannot compile layers that ranks split; leave 'llm' out of its parts, or use the strategy ddp"
        )
