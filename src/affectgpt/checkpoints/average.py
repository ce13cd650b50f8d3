"""Averages the weights of several checkpoints of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from affectgpt.checkpoints.history import mean_of_checkpoints, read_history
from affectgpt.checkpoints.io import SAME_MATHS, compare_config, compare_keys, load_checkpoint
from affectgpt.errors import CheckpointError


def average_checkpoints(paths: Sequence[str | Path], *, allow_import: bool = False) -> dict[str, Any]:
    """The first checkpoint, with the mean of the weights of all.

    Means are taken in double precision; numbers that are not floating point are those of the first.

    Args:
        paths: At least one checkpoint of training, in any form that ``load_checkpoint`` reads.
        allow_import: See ``load_checkpoint``.

    Raises:
        CheckpointError: If one cannot be read, or does not belong to the same model as the first.
    """
    first = load_checkpoint(paths[0], allow_import=allow_import)
    histories = [_history(first)]
    state = first["state_dict"]
    sums = {name: tensor.double() for name, tensor in state.items() if tensor.is_floating_point()}
    for path in paths[1:]:
        other = load_checkpoint(path, allow_import=allow_import)
        compare_config(first["hyper_parameters"], other["hyper_parameters"], SAME_MATHS)
        compare_keys(state, other["state_dict"])
        histories.append(_history(other))
        for name, total in sums.items():
            if other["state_dict"][name].shape != total.shape:
                raise CheckpointError(f"{path}: {name} has another shape than in {paths[0]}; it is of another model")
            total += other["state_dict"][name].double()
    means = {name: (total / len(paths)).to(state[name].dtype) for name, total in sums.items()}
    if lost := [name for name, mean in means.items() if bool(torch.isnan(mean).any())]:
        raise CheckpointError(f"the mean of {lost[0]} is NaN: one of the checkpoints holds weights that are not finite")
    if len(paths) > 1:
        names = ["/".join(Path(path).parts[-2:]) for path in paths]
        history = [*read_history(histories[0]), mean_of_checkpoints(names, histories)]
        first["affectgpt"] = {**first.get("affectgpt", {}), "history": history}
    return {**first, "state_dict": {**state, **means}}


def _history(checkpoint: Mapping[str, Any]) -> Any:
    return checkpoint.get("affectgpt", {}).get("history")
