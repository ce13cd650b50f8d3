"""Reports and controls what a resumed run restores from its checkpoint and what it takes from its configuration."""

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
"""Key under which a checkpoint keeps the settings of its run."""


class ResumeReport(lightning.Callback):
    """Records the settings of a run in its checkpoints; on resuming, applies changed settings and reports them.

    Lightning restores an optimiser with its stored learning rates, and a callback with its stored patience. A value
    that was changed in the configuration would have no effect, yet the next checkpoint would record it. Here the
    configuration decides: the moments are kept, and the optimiser, its schedule and the callbacks get their new
    settings. Changes that cannot be applied are refused.

    Args:
        config: The configuration of the command line.
        tell: Called with each line of the report.

    Attributes:
        resumed_step: The optimiser step from which the run was resumed; ``None`` if it was not.
    """

    def __init__(self, config: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        self.config = config
        self.tell = tell
        self.resumed_step: int | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Record the settings."""
        checkpoint[SETTINGS] = self._settings(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Bring what was stored in line with the configuration, and report.

        Raises:
            CheckpointError: If the trained tensors are not those that the stored moments belong to.
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

    The settings decide the parameter groups, so the moments are assigned to the new groups tensor by tensor.

    Args:
        checkpoint: The checkpoint, changed in place.
        module: A model with ``optim`` in its hyper-parameters; nothing is done for any other.

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
            f"trained tensors in {len(stored['param_groups'])} groups, but this configuration trains "
            f"{sum(len(group['params']) for group in then.param_groups)} in {len(then.param_groups)}: 'trainable' or "
            "'lora' has changed. Set it as it was, or start from the weights alone with --start"
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
    """The stored state, regrouped for the optimiser ``now``; ``then`` has the groups that it was stored with."""
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
    """The entries of ``lr_of`` that still match a trained tensor."""
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    given = optim.get("lr_of") or {}
    return {start: lr for start, lr in given.items() if any(name.startswith(start) for name in names)}


def _keep_callback_settings(trainer: lightning.Trainer, checkpoint: dict[str, Any]) -> list[Change]:
    """Remove arguments from the stored states of callbacks if the configuration has changed them."""
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
    """The settings of an older checkpoint, as far as it holds them; the others count as unchanged."""
    data = {**now["data"], "args": dict(checkpoint.get("datamodule_hyper_parameters") or now["data"].get("args") or {})}
    return {**now, "model": dict(checkpoint.get("hyper_parameters") or {}), "data": data}


def _report(trainer: lightning.Trainer, checkpoint: Mapping[str, Any], changes: list[Change]) -> list[str]:
    done = batches_in(checkpoint)["current"]["processed"]
    groups = [group for state in checkpoint.get("optimizer_states", ()) for group in state["param_groups"]]
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(group["lr"] for group in groups))
    restored = ["weights", f"moments of {sum(len(group['params']) for group in groups)} tensors"]
    restored.append(f"schedule at step {checkpoint['global_step']} (learning rate {rates})")
    restored += ["position in the data"] if trainer.datamodule is not None else []  # type: ignore[attr-defined]
    restored += [key.partition("{")[0] for key in checkpoint.get("callbacks", {})]
    taken = ", ".join(f"{change.name} {change.now!r} (was {change.then!r})" for change in changes)
    return [
        f"resuming from {trainer.ckpt_path}: epoch {checkpoint['epoch']}, step {checkpoint['global_step']}, {done} "
        "batches of the epoch done",
        f"  restored: {', '.join(restored)}",
        f"  taken from this configuration: {taken or 'no setting differs'}",
        "  refused: nothing",
    ]
