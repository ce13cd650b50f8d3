"""Reads checkpoint files without running code from them, and refuses files that do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from affectgpt.checkpoints.gate import pass_gate
from affectgpt.errors import CheckpointError

SAME_MATHS = ("streams", "prefusion", "prefusion_inputs", "projector", "llm", "style", "media", "slots")
"""Hyper-parameters that a checkpoint and a model must share."""

SAME_RESULT = frozenset({"trainable", "gradient_checkpointing", "attention"})
"""Settings of parts that change how something is computed or trained, but not the result."""


ADDED_LATER: Mapping[str, Any] = {"projector": {"name": "linear", "args": {}}}
"""Settings that older models lack, with the values that they had then."""


def load_tensors(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, tensors and plain values only: one file, or a folder of shards.

    Raises:
        CheckpointError: If it is missing, is no such file, or holds anything but tensors and plain values.
    """
    import pickle

    import torch

    from affectgpt.checkpoints.shard_folder import is_shard_folder, read_facts, read_weights
    from affectgpt.checkpoints.weights_file import SUFFIX, read_weights_file

    path = Path(path)
    if is_shard_folder(path):
        return {**read_facts(path), "state_dict": read_weights(path)}
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, but not of shards: it has no .metadata and meta.pt of training")
    if path.suffix == SUFFIX and path.is_file():
        return read_weights_file(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the file that training wrote")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({first}); it is cut, or contains more than tensors and plain "
            "values"
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, expected a checkpoint's mapping")
    return loaded


def load_checkpoint(path: str | Path, *, allow_import: bool = False) -> dict[str, Any]:
    """Read a checkpoint that training wrote onto the CPU, tensors and plain values only.

    Args:
        path: The file.
        allow_import: See ``pass_gate``.

    Raises:
        CheckpointError: If the file is missing, is not a checkpoint, holds anything but tensors and plain values, or
            its arguments are refused by ``pass_gate``.
    """
    loaded = load_tensors(path)
    if "state_dict" not in loaded or "hyper_parameters" not in loaded:
        theirs = " If it is a released one: affectgpt convert, or from_official." if "model" in loaded else ""
        raise CheckpointError(
            f"{path} has no 'state_dict' and 'hyper_parameters': it is not a checkpoint of AffectGPT.{theirs}"
        )
    if not _holds_tensors(loaded["state_dict"]) or not isinstance(loaded.get("affectgpt", {}), Mapping):
        raise CheckpointError(
            f"{path}: its 'state_dict' or 'affectgpt' is not as training writes it; the file is broken"
        )
    return {**loaded, "hyper_parameters": pass_gate(loaded["hyper_parameters"], path, allow_import=allow_import)}


def compare_config(ours: Mapping[str, Any], theirs: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Compare the settings that change what a model computes.

    Args:
        ours: Hyper-parameters of the model at hand.
        theirs: Hyper-parameters in the checkpoint.
        keys: Settings that must be equal.

    Raises:
        CheckpointError: If any differs; every difference is named.
    """
    ours, theirs = {**ADDED_LATER, **ours}, {**ADDED_LATER, **theirs}
    differences = [
        f"{name}: {theirs_value!r} in the checkpoint, {ours_value!r} here"
        for key in keys
        for name, ours_value, theirs_value in _differences(key, ours.get(key), theirs.get(key))
    ]
    if differences:
        raise CheckpointError(
            "the checkpoint belongs to another configuration; "
            + "; ".join(differences)
            + ". Use the configuration with which it was trained, or start without it"
        )


def compare_keys(expected: Iterable[str], given: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Compare the names of tensors.

    Args:
        expected: Names in the model.
        given: Names in the checkpoint.
        optional: Names that the model reads from its own weight files.

    Raises:
        CheckpointError: If a name is missing or unknown; both lists are given.
    """
    expected, given = set(expected), set(given)
    missing = sorted(expected - given - set(optional))
    unknown = sorted(given - expected)
    if missing or unknown:
        raise CheckpointError(
            f"the checkpoint does not fit the model: {len(missing)} tensors are missing ({_some(missing)}), "
            f"{len(unknown)} are unknown ({_some(unknown)}); it belongs to another configuration"
        )


def _holds_tensors(state: Any) -> bool:
    import torch

    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    )


def _differences(name: str, ours: Any, theirs: Any) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted({*ours, *theirs} - SAME_RESULT):
            yield from _differences(f"{name}.{key}", ours.get(key), theirs.get(key))
    elif ours != theirs:
        yield name, ours, theirs


def _some(names: list[str], most: int = 3) -> str:
    if not names:
        return "none"
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
