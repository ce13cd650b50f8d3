"""The trained weights of a model in one small safetensors file, with all that is needed to build it around them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from affectgpt.errors import CheckpointError, DataError
from affectgpt.files import draft, parse_json

SUFFIX = ".safetensors"
RECORD = "affectgpt"
"""The key of the file's own metadata under which the model's arguments stand."""


def write_weights_file(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Write what a checkpoint holds of a model; states of optimiser, data and callbacks are left out.

    Args:
        checkpoint: As ``load_checkpoint`` gives it.
        path: File to write or replace.
    """
    from safetensors.torch import save_file

    record = {"hyper_parameters": checkpoint["hyper_parameters"], "affectgpt": checkpoint.get("affectgpt", {})}
    tensors = {name: tensor.contiguous().clone() for name, tensor in checkpoint["state_dict"].items()}
    with draft(path) as file:
        save_file(tensors, file, metadata={RECORD: json.dumps(record)})


def read_weights_file(path: str | Path) -> dict[str, Any]:
    """Read such a file, as a checkpoint: ``state_dict``, ``hyper_parameters`` and ``affectgpt``.

    Raises:
        CheckpointError: If it cannot be read, or is another safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            record = (file.metadata() or {}).get(RECORD)
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path} ({error}); write or fetch it again") from error
    try:
        facts = None if record is None else parse_json(record, str(path))
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(facts, dict) or not isinstance(facts.get("hyper_parameters"), dict):
        raise CheckpointError(
            f"{path} does not say which model its tensors belong to; give a file that affectgpt convert wrote, or the "
            "folder that holds this one beside a config.json"
        )
    return {"affectgpt": {}, **facts, "state_dict": tensors}
