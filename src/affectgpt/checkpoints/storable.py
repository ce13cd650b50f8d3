"""What storing and loading need to know of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import nn

from affectgpt.checkpoints.history import History
from affectgpt.checkpoints.io import compare_keys
from affectgpt.errors import AffectGPTError, CheckpointError, reason_of
from affectgpt.part import Part
from affectgpt.prompts.template import PromptStyle


class StoredParts(Protocol):
    """The network of a model: parts that may read weights from files of their own."""

    def parts(self) -> Mapping[str, Part]:
        """These parts, by the prefix of their tensors' names."""

    def restored_keys(self) -> Iterator[str]:
        """Names in the state dict that a checkpoint may leave out."""


class Storable(Protocol):
    """What storing and loading need of a model.

    Attributes:
        record: Its trainings, and where its weights come from.
    """

    record: History

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a model from its arguments."""

    @property
    def style(self) -> PromptStyle:
        """The prompt style."""

    @property
    def network(self) -> StoredParts:
        """The model's parts."""

    @property
    def hparams(self) -> Any:
        """The model's arguments, as plain JSON."""

    def state_dict(self) -> dict[str, Any]:
        """Name to tensor."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """Load tensors."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name to parameter."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to a training checkpoint."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a training checkpoint of another configuration."""


@contextmanager
def only_our_errors(source: object) -> Iterator[None]:
    """Turn errors that parts raise for invalid stored values into errors of the library.

    Args:
        source: Where the values were stored, for the message.

    Raises:
        CheckpointError: In place of an error that is not the library's.
    """
    try:
        yield
    except AffectGPTError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{source}: no model can be built from its arguments ({type(error).__name__}: {reason_of(error)}); they "
            "were changed after the model was stored, or another version of a part stored them"
        ) from error


def check_names(model: Storable, names: Iterable[str]) -> None:
    """Check that these names of tensors are the model's, and note the parts whose weights will differ from their files.

    Raises:
        CheckpointError: If a name is missing or unknown.
    """
    names = list(names)
    restored = set(model.network.restored_keys())
    compare_keys(model.state_dict(), names, restored)
    given = restored.intersection(names)
    for start, part in model.network.parts().items():
        if any(name.startswith(start) for name in given):
            # its own file does not have the weights that are about to be loaded, so the next checkpoint must
            part.keep_weights()


def fill(model: Storable, tensors: Mapping[str, torch.Tensor], source: str | Path) -> None:
    """Load tensors whose names were already compared.

    Args:
        model: The model.
        tensors: Name to tensor.
        source: Where they came from, for the message.

    Raises:
        CheckpointError: If a tensor has another shape.
    """
    try:
        model.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{source} does not fit: {error}") from error
