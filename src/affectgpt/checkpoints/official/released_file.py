"""Reads checkpoints in the released format, and maps the names of their tensors to ours and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from affectgpt.checkpoints.io import load_tensors
from affectgpt.checkpoints.official.released_names import (
    NUM_POSITION_IDS,
    POSITION_IDS,
    Layout,
    official_name,
)
from affectgpt.errors import CheckpointError

CARRIED = "carried."
"""Prefix of our names of tensors that the current layout does not use; the rest of the name has ``/`` in place of
``.``."""


@dataclass(frozen=True)
class OfficialFile:
    """A checkpoint in the released format.

    Attributes:
        path: The file.
        tensors: Released name to tensor: the trained weights only.
        config: The configuration of the run, as saved with it.
        epoch: The epoch after which it was saved.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    epoch: int | None

    @property
    def switches(self) -> Mapping[str, Any]:
        """The section of the configuration that decides what the model computes."""
        return self.config["model"]  # type: ignore[no-any-return]

    def trained_layouts(self) -> list[str]:
        """The prompt layouts that the configuration names for its data sets; empty if it names no data set."""
        sets = self.config.get("datasets") or {}
        named = [entry.get("face_or_frame") for entry in sets.values() if isinstance(entry, Mapping)]
        return list(dict.fromkeys(name for name in named if name))


def read_official(path: str | Path) -> OfficialFile:
    """Read a checkpoint in the released format: tensors and plain values only, no code in the file is run.

    Raises:
        CheckpointError: If the file is missing, cannot be read, or has another format.
    """
    loaded = load_tensors(path)
    tensors, config = loaded.get("model") or {}, loaded.get("config")
    is_model = isinstance(tensors, Mapping) and tensors and all(isinstance(t, Tensor) for t in tensors.values())
    if not is_model or not isinstance(config, Mapping) or not isinstance(config.get("model"), Mapping):
        ours = " It looks like one that affectgpt wrote: use from_checkpoint." if "hyper_parameters" in loaded else ""
        raise CheckpointError(
            f"{path} is not a released AffectGPT checkpoint: it has {', '.join(map(repr, list(loaded)[:6]))}, expected "
            f"'model' with tensors and 'config' with the run's configuration.{ours}"
        )
    return OfficialFile(Path(path), dict(tensors), config, loaded.get("epoch"))


def expected_tensors(complete: nn.Module) -> dict[str, tuple[str, torch.Size]]:
    """Released names of a model's trained tensors.

    Args:
        complete: The model of ``model_arguments(file, None, ...)``; may be on the meta device.

    Returns:
        Released name to our name and the shape. Without ``position_ids``, see ``position_ids``.
    """
    found: dict[str, tuple[str, torch.Size]] = {}
    for name, parameter in complete.named_parameters():
        theirs = official_name(name)
        if parameter.requires_grad and theirs is not None:
            found[theirs] = (name, parameter.shape)
    return found


def has_tied_output(model: Any) -> bool:
    """Whether the language model's output layer is its embedding."""
    return bool(model.llm.network.config.tie_word_embeddings)


def position_ids(names: Mapping[str, Any]) -> dict[str, Tensor]:
    """The buffers that the released format stores with every Q-Former among ``names``."""
    starts = {name.split("_Qformer.bert.")[0] for name in names if "_Qformer.bert." in name}
    return {start + POSITION_IDS: torch.arange(NUM_POSITION_IDS)[None] for start in sorted(starts)}


def check_tensors(file: OfficialFile, expected: Mapping[str, tuple[str, torch.Size]], *, tied: bool) -> None:
    """Compare the file's tensors with those that its configuration and the folders imply.

    Args:
        file: The checkpoint.
        expected: See ``expected_tensors``.
        tied: Whether the language model's output layer is its embedding; then it is in the file too.

    Raises:
        CheckpointError: If tensors are missing, unknown or of another shape; all are listed.
    """
    buffers = position_ids(expected)
    wanted = {name: shape for name, (_, shape) in expected.items()}
    extra = {"llama_model.base_model.model.lm_head.weight"} if tied else set()
    missing = sorted(wanted.keys() - file.tensors.keys())
    unknown = sorted(file.tensors.keys() - wanted.keys() - buffers.keys() - extra)
    misshapen = [
        f"{name} is {tuple(tensor.shape)}, expected {tuple(wanted[name])}"
        for name, tensor in file.tensors.items()
        if name in wanted and tensor.shape != wanted[name]
    ]
    changed = [name for name in buffers if name in file.tensors and not _counts_up(file.tensors[name])]
    problems = [("missing", missing), ("unknown", unknown), ("of another shape", misshapen), ("changed", changed)]
    told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in problems if names)
    if told:
        raise CheckpointError(
            f"{file.path} does not fit: {told}. Give the folders of the networks that it was trained with (language "
            "model, encoders), and the unchanged released file"
        )


def place_tensors(
    file: OfficialFile, expected: Mapping[str, tuple[str, torch.Size]], layout: Layout, placed: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Assign the file's tensors to the model's names.

    Args:
        file: The checkpoint.
        expected: See ``expected_tensors``.
        layout: The inputs of the model at hand.
        placed: State dict of that model, or its names.

    Returns:
        Tensors under our names, and those that this layout does not use, under their released names.
    """
    known: dict[str, Tensor] = {}
    carried: dict[str, Tensor] = {}
    for theirs, (ours, _) in expected.items():
        name = _in_layout(ours, layout)
        target = known if name in placed else carried
        target[name if name in placed else theirs] = file.tensors[theirs]
    return known, carried


def official_state(state: Mapping[str, Tensor], trained: set[str], layout: Layout, *, tied: bool) -> dict[str, Tensor]:
    """The tensors of one of our models under their released names.

    Args:
        state: State dict of a model that came from a released checkpoint.
        trained: Names in it that are trained.
        layout: The layout that it was built for.
        tied: See ``check_tensors``.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(CARRIED):
            found[name[len(CARRIED) :].replace("/", ".")] = tensor
        elif name in trained or (tied and name == "llm.network.base_model.model.lm_head.weight"):
            theirs = official_name(_complete(name, layout))
            if theirs is not None:
                found[theirs] = tensor
    return found | position_ids(found)


def _in_layout(name: str, layout: Layout) -> str:
    return name.replace(".video.", f".{layout.visual}.", 1) if layout.visual in ("face", "frame") else name


def _complete(name: str, layout: Layout) -> str:
    if layout.visual in ("face", "frame"):
        return name.replace(f".{layout.visual}.", ".video.", 1)
    return name


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _counts_up(ids: Tensor) -> bool:
    return torch.equal(ids.flatten(), torch.arange(ids.numel()))
