"""Compares what a launcher has started with the ranks that a trainer expects."""

from __future__ import annotations

import os

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from affectgpt.errors import ConfigError


def check_launcher(trainer: Trainer) -> None:
    """Reject a run that is not the one that a launcher has started.

    Without one, a run on several nodes would wait for the others for half an hour; with more processes than the trainer
    knows of, each of them would train alone.

    Raises:
        ConfigError: If no launcher says where the other nodes are, or one has started more processes.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes > 1 and isinstance(environment, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes}, but nothing says where the other nodes are; start the run on each "
            "node with torchrun, or with srun: experiments/launch/ has a script for either"
        )
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if not by_torchrun and os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return  # a shell on a node, in which one process alone is started
    started = os.environ.get("WORLD_SIZE" if by_torchrun else "SLURM_STEP_NUM_TASKS", "1")
    if started.isdigit() and int(started) > 1 and trainer.world_size == 1:
        raise ConfigError(
            f"{'torchrun' if by_torchrun else 'srun'} has started {started} processes, but trainer.devices x "
            "trainer.num_nodes is 1: each would train alone. Give the processes of a node as trainer.devices, and "
            "trainer.num_nodes"
        )
