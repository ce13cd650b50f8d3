"""Says what a resumed run restores and what it takes from its own configuration, and sees to it that this is true."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from affectgpt.errors import CheckpointError
from affectgpt.lightning_privates import batches_in
from affectgpt.training.optim import OptimSpec, build_optimizer
from affectgpt.training.run_settings import Change, changed_settings, settings_of

SETTINGS = "affectgpt_run"
"""Where a checkpoint keeps the settings of its run."""


class ResumeReport(lightning.Callback):
    """Notes the settings of a run in its checkpoints, and on resuming from one tells what has become of each change.

    Lightning restores an optimiser with its learning rates, and a callback with its patience, so that a value that was
    changed in the configuration would do nothing, and be written into the next checkpoint as if it had. Here what the
    configuration says is what happens: the moments are kept, and the optimiser, its schedule and the callbacks get
    their new settings. What cannot be taken over is refused.

    Args:
        config: The configuration of the command line.
        tell: Takes the lines of the report.

    Attributes:
        resumed_step: The optimiser step that the run goes on from; ``None`` where it begins.
    """

    def __init__(self, config: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        self.config = config
        self.tell = tell
        self.resumed_step: int | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the settings."""
        checkpoint[SETTINGS] = self._settings(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Bring what was stored in line with the configuration, and report.

        Raises:
            CheckpointError: If other tensors are trained than those that the stored moments belong to.
        """
        if trainer.state.fn != "fit":
            return
        self.resumed_step = checkpoint["global_step"]
        now = self._settings(trainer, pl_module)
        then = checkpoint.get(SETTINGS) or _settings_without_record(checkpoint, now)
        changes = changed_settings(then, now)
        take_optimizer_settings(checkpoint, pl_module)
        changes += _keep_callback_settings(trainer, checkpoint)
        if trainer.is_global_zero:
            for line in _report(trainer, checkpoint, changes):
                self.tell(line)

    def _settings(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> dict[str, Any]:
        return settings_of(pl_module, trainer.datamodule, self.config)  # type: ignore[attr-defined]


def take_optimizer_settings(checkpoint: dict[str, Any], module: lightning.LightningModule) -> None:
    """Give the stored optimiser and schedule the settings of the module's ``optim``, and keep the moments.

    Groups of parameters follow from the settings, so the moments are dealt out anew, tensor by tensor.

    Args:
        checkpoint: The checkpoint, changed in place.
        module: A model with ``optim`` in its hyper-parameters; any other is left alone.

    Raises:
        CheckpointError: If the checkpoint was written while other tensors were trained.
    """
    theirs = checkpoint.get("hyper_parameters", {}).get("optim")
    if theirs is None or "optim" not in module.hparams or len(checkpoint.get("optimizer_states", ())) != 1:
        return
    then, _ = build_optimizer(module.named_parameters(), OptimSpec.of({**theirs, "lr_of": _fitting(theirs, module)}))
    now, schedule = build_optimizer(module.named_parameters(), OptimSpec.of(module.hparams["optim"]))
    stored = checkpoint["optimizer_states"][0]
    if [len(group["params"]) for group in stored["param_groups"]] != [len(g["params"]) for g in then.param_groups]:
        raise CheckpointError(
            f"the checkpoint holds the moments of {sum(len(group['params']) for group in stored['param_groups'])} "
            f"trained tensors in {len(stored['param_groups'])} groups, this configuration trains "
            f"{sum(len(group['params']) for group in then.param_groups)} in {len(then.param_groups)}: it has another "
            "'trainable' or 'lora'. Give it as it was, or begin from the weights alone with --start"
        )
    last = checkpoint["lr_schedulers"][0]["last_epoch"]
    for group, base, factor in zip(now.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * factor(last)
    checkpoint["optimizer_states"] = [_with_groups_of(now, then, stored, module)]
    checkpoint["lr_schedulers"][0] |= {
        "base_lrs": list(schedule.base_lrs),
        "_last_lr": [group["lr"] for group in now.param_groups],
        "lr_lambdas": [None] * len(now.param_groups),
    }


def _with_groups_of(
    now: torch.optim.Optimizer, then: torch.optim.Optimizer, stored: Mapping[str, Any], module: nn.Module
) -> dict[str, Any]:
    """The stored state as one of the optimiser ``now``; ``then`` has the groups that it was stored with."""
    order = {id(p): number for number, p in enumerate(p for group in then.param_groups for p in group["params"])}
    moved = [order[id(p)] for group in now.param_groups for p in group["params"]]
    state, groups = dict(stored["state"]), now.state_dict()["param_groups"]
    if all(isinstance(key, str) for group in stored["param_groups"] for key in group["params"]):  # sharded: by name
        names = {id(p): name for name, p in module.named_parameters()}
        for group, mine in zip(groups, now.param_groups, strict=True):
            group["params"] = [names[id(p)] for p in mine["params"]]
    else:
        state = {new: state[old] for new, old in enumerate(moved) if old in state}
    return {"state": state, "param_groups": groups}


def _fitting(optim: Mapping[str, Any], module: nn.Module) -> dict[str, float]:
    """The learning rates of single parts that a trained tensor still belongs to."""
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    given = optim.get("lr_of") or {}
    return {start: lr for start, lr in given.items() if any(name.startswith(start) for name in names)}


def _keep_callback_settings(trainer: lightning.Trainer, checkpoint: dict[str, Any]) -> list[Change]:
    """Take arguments of callbacks out of their stored states where the configuration says otherwise now."""
    changes = []
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = checkpoint.get("callbacks", {}).get(callback.state_key)
        if not isinstance(state, dict) or isinstance(callback, Checkpoint):
            continue
        for name in inspect.signature(type(callback).__init__).parameters.keys() & state.keys():
            if hasattr(callback, name) and getattr(callback, name) != state[name] and name != "seed":
                changes.append(Change(f"{type(callback).__name__}.{name}", state[name], getattr(callback, name)))
                state[name] = getattr(callback, name)
    return changes


def _settings_without_record(checkpoint: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an older checkpoint, as far as it knows them; the others count as unchanged."""
    data = {**now["data"], "args": dict(checkpoint.get("datamodule_hyper_parameters") or now["data"].get("args") or {})}
    return {**now, "model": dict(checkpoint.get("hyper_parameters") or {}), "data": data}


def _report(trainer: lightning.Trainer, checkpoint: Mapping[str, Any], changes: list[Change]) -> list[str]:
    done = batches_in(checkpoint)["current"]["processed"]
    groups = [group for state in checkpoint.get("optimizer_states", ()) for group in state["param_groups"]]
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(group["lr"] for group in groups))
    restored = ["weights", f"moments of {sum(len(group['params']) for group in groups)} tensors"]
    restored.append(f"schedule at step {checkpoint['global_step']} (learning rate {rates})")
    restored += ["place in the data"] if trainer.datamodule is not None else []  # type: ignore[attr-defined]
    restored += [key.partition("{")[0] for key in checkpoint.get("callbacks", {})]
    taken = ", ".join(f"{change.name} {change.now!r} (was {change.then!r})" for change in changes)
    return [
        f"going on from {trainer.ckpt_path}: epoch {checkpoint['epoch']}, step {checkpoint['global_step']}, {done} "
        "batches of the epoch done",
        f"  restored: {', '.join(restored)}",
        f"  taken from this configuration: {taken or 'no setting differs'}",
        "  refused: nothing",
    ]
