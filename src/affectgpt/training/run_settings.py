"""The settings of a run as plain JSON, and the differences between the settings of two runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import lightning

from affectgpt.web import strip_secrets

ELSEWHERE = frozenset(
    {
        *("accelerator", "devices", "num_nodes", "strategy", "plugins", "default_root_dir", "logger", "callbacks"),
        *("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "log_every_n_steps", "profiler"),
        *("num_sanity_val_steps", "barebones", "benchmark", "use_distributed_sampler", "detect_anomaly"),
    }
)
"""Arguments of the trainer that decide where a run executes and what it shows, not what is learnt."""

FOR_SPEED = frozenset({"num_workers", "pin_memory", "cache_folder", "cache_gigabytes", "cache_decoded"})
"""Arguments of a datamodule that change its speed, not its batches."""


class Change(NamedTuple):
    """A setting that differs between two runs; ``None`` also stands for one that a run does not have."""

    name: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.then!r} then, {self.now!r} now"


def settings_of(
    module: lightning.LightningModule, datamodule: lightning.LightningDataModule | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a run as plain JSON, without passwords and signatures in URLs.

    Args:
        module: The model.
        datamodule: The datamodule, if there is one.
        config: The configuration of the command line; ``trainer``, ``seed_everything``, ``start`` and ``data`` are
            used.
    """
    data = dict(config.get("data") or {})
    if datamodule is not None:
        data["args"] = dict(datamodule.hparams)
    settings = {
        "model": dict(module.hparams),
        "data": data,
        "trainer": {name: value for name, value in (config.get("trainer") or {}).items() if name not in ELSEWHERE},
        "seed_everything": config.get("seed_everything"),
        "start": config.get("start"),
    }
    plain: dict[str, Any] = strip_secrets(json.loads(json.dumps(settings, default=str)))
    return plain


def changed_settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Every setting that differs, by its full name; settings that affect only the speed do not count.

    Examples:
        >>> [str(change) for change in changed_settings({"model": {"lr": 1, "n": 2}}, {"model": {"lr": 3, "n": 2}})]
        ['model.lr: 1 then, 3 now']
    """
    return [change for change in _changes("", then, now) if change.name.removeprefix("data.args.") not in FOR_SPEED]


def _changes(name: str, then: Any, now: Any) -> Iterator[Change]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            yield from _changes(f"{name}.{key}" if name else key, then.get(key), now.get(key))
    elif then != now:
        yield Change(name, then, now)
