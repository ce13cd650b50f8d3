"""The contract of a source: how an input of a clip becomes a tensor, and the tensors of several clips a batch."""

from __future__ import annotations

import dataclasses
import json
import re
from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from affectgpt.errors import AffectGPTError, ConfigError, DataError
from affectgpt.media.material import Material, SourceFile
from affectgpt.types import Modality

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
# keys of a manifest, slots of a prompt, arguments of AffectGPT.predict, and fields of the service's form
_TAKEN = (
    *("name", "video", "faces", "subtitle", "labels", "description", "split", "multi"),
    *("clip", "question", "key", "asr", "max_new_tokens", "face_detector"),
    *("file", "url", "max_tokens"),
)
_SUFFIX = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class Source(ABC):
    """An input of a clip that streams can read, such as its frames; what it gives has steps of one shape.

    A subclass is a frozen dataclass whose fields, plain JSON with defaults, are its settings: ``source_args`` of the
    media profile sets them. It is registered under the name that streams, manifests and shards call it by. It has its
    own file beside the clip's media, ``{key}.{name}.{suffix}``: it sets ``modality``, ``suffixes`` and ``step_shape``,
    and implements ``read``.

    Attributes:
        modality: The kind of signal; the encoder of a stream that reads the source has the same.
        suffixes: Endings that its file may have, in lower case and without the first dot. Empty for a source that is
            cut from the clip's own media.
        track: For a source that is cut from the clip's own media: ``Modality.VISUAL`` or ``Modality.AUDIO``, the track
            that must be decoded.
        step_shape: Shape of one step: what follows the number of steps T in the shape of its tensor.
        dtype: Type of its tensor.
        version: Increase it when the class gives other tensors than before for the same file and settings; stored
            features of the older version are then refused.
        wordings: Name of a prompt style to the text before and after the tokens of a stream of the source's name;
            elsewhere the style's text for an unknown slot is used.
    """

    modality: Modality
    step_shape: tuple[int, ...]
    suffixes: ClassVar[tuple[str, ...]] = ()
    track: ClassVar[Modality | None] = None
    dtype: ClassVar[torch.dtype] = torch.float32
    version: ClassVar[int] = 1
    wordings: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def read(self, content: bytes, suffix: str) -> Tensor:
        """Turn the source's own file into a tensor.

        It runs in the processes that load data, on bytes that nobody has checked: any error that it raises makes a bad
        sample, and no code in the file may be run.

        Args:
            content: The file.
            suffix: Its ending, one of ``suffixes``.

        Returns:
            ``[T, *step_shape]`` in ``dtype``, with T of at least 1. A step that holds NaN was lost (a sensor that fell
            off): it is left out.
        """
        raise NotImplementedError

    def prepare(self, material: Material, file: SourceFile | None) -> Tensor | str:
        """The source's tensor for a clip, by default from its own file.

        Args:
            material: What was decoded of the clip.
            file: The source's own file, if the clip has one.

        Returns:
            ``[T, *step_shape]``, real steps only; or the reason why the clip lacks the source.
        """
        if file is None:
            return "no file was given"
        steps = self.read(file.content, file.suffix)
        self.check(steps)
        lost = steps.flatten(1).isnan().any(1) if steps.is_floating_point() else None
        if lost is None or not bool(lost.any()):
            return steps
        return f"all of its {len(steps)} steps were lost" if bool(lost.all()) else steps[~lost]

    def expected(self) -> str:
        """The type and shape of its tensor, for messages."""
        return f"{_name_of(self.dtype)} [{', '.join(map(str, ('time', *self.step_shape)))}]"

    def fits(self, steps: Tensor) -> bool:
        """Whether a tensor has the type and shape of the source's, for any number of steps."""
        return steps.dtype == self.dtype and tuple(steps.shape[1:]) == tuple(self.step_shape) and steps.ndim > 0

    def check(self, steps: Any) -> None:
        """Refuse a tensor of another type or shape, or without any step.

        Raises:
            DataError: If it does not fit.
        """
        if not isinstance(steps, Tensor) or not self.fits(steps) or not len(steps):
            found = shape_of(steps) if isinstance(steps, Tensor) else f"a {type(steps).__name__}"
            raise DataError(f"must be {self.expected()} with at least one step, but is {found}")

    def collate(self, steps: Mapping[int, Tensor], num_clips: int) -> tuple[Tensor, Tensor]:
        """Put the tensors of several clips side by side, by default padded at the end with zeros.

        Args:
            steps: Row in the batch to the clip's ``[T, ...]``; clips that lack the source have no entry.
            num_clips: Rows of the batch, B.

        Returns:
            ``[B, T, ...]`` and bool ``[B, T]``, ``True`` for a real step. The real steps of a row come first, one for
            each that its clip has, so that stored features are equal to those of a batch.
        """
        return pad(steps, num_clips)

    def blank(self, num_clips: int) -> Tensor:
        """Zeros ``[num_clips, 1, *step_shape]`` in place of clips that lack the source."""
        return torch.zeros(num_clips, 1, *self.step_shape, dtype=self.dtype)

    def specimen(self) -> Tensor:
        """One clip of two different steps, ``[1, 2, *step_shape]``: the input of a stored model's self-test.

        It is made by integer arithmetic, so that it is the same on every machine.
        """
        shape = (1, 2, *self.step_shape)
        numbers = torch.arange(torch.Size(shape).numel()).reshape(shape) * 37 % 101
        return ((numbers - 50) / 50).to(self.dtype) if self.dtype.is_floating_point else numbers.to(self.dtype)

    def steps_of(self, name: str, material: Material) -> Tensor | str:
        """What ``prepare`` makes for a clip, with every error named by clip and source.

        Args:
            name: The source's registered name.
            material: What is there of the clip.

        Raises:
            DataError: If its file is broken.
        """
        file = material.files.get(name)
        try:
            return self.prepare(material, file)
        except AffectGPTError as error:
            if file is None:
                raise
            raise DataError(f"clip {material.key!r}: its {name} {error}") from error
        except Exception as error:  # code of another project, on bytes that nobody has checked
            message = f"clip {material.key!r}: its {name} cannot be read ({type(error).__name__}: {error})"
            raise DataError(f"{message}; repair the file, or leave it out") from error

    def settings(self) -> dict[str, Any]:
        """Plain JSON of what decides the tensor of a file: a part of the key of stored features."""
        fields = dataclasses.asdict(cast(Any, self))
        return {**json.loads(json.dumps(fields)), "version": self.version}

    def check_contract(self, name: str) -> None:
        """Check that the class declares what others must know of it.

        Args:
            name: The source's registered name.

        Raises:
            ConfigError: If something is missing or wrong.
        """
        reads_file = type(self).prepare is Source.prepare
        shape = getattr(self, "step_shape", None)
        faults = {
            "is no frozen dataclass": not getattr(getattr(self, "__dataclass_params__", None), "frozen", False),
            "has no modality; expected Modality('name')": not isinstance(getattr(self, "modality", None), Modality),
            f"has the step_shape {shape!r}; expected the shape of one step, such as (200, 4)": not _is_shape(shape),
            f"has the suffixes {self.suffixes!r}; expected a tuple of endings, such as ('csv', 'npy')": (
                reads_file and not _are_suffixes(self.suffixes)
            ),
            "has no method read, which turns its file into a tensor": reads_file and type(self).read is Source.read,
        }
        for what, is_wrong in faults.items():
            if is_wrong:
                kind = f"{type(self).__module__}.{type(self).__qualname__}"
                raise ConfigError(f"source {name!r}: {kind} {what}. The contract: docs/new_modality.md")
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ConfigError(
                f"the source {name!r} cannot be called so: give a word in lower case, such as 'physiology', none of "
                f"{', '.join(_TAKEN)}"
            )


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(size, int) and size >= 0 for size in value)


def _are_suffixes(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, str) and _SUFFIX.fullmatch(v) for v in value)


def shape_of(tensor: Tensor) -> str:
    """Type and shape of a tensor, for messages."""
    return f"{_name_of(tensor.dtype)} {list(tensor.shape)}"


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def pad(steps: Mapping[int, Tensor], num_clips: int) -> tuple[Tensor, Tensor]:
    """Tensors of clips side by side, zeros after the end of each; see ``Source.collate``.

    Args:
        steps: Row to ``[T, ...]``, which differ in T only.
        num_clips: Rows, B.

    Returns:
        ``[B, T, ...]`` with the largest T, 1 at least, and bool ``[B, T]``, ``True`` for a real step.
    """
    first = next(iter(steps.values()))
    longest = max(1, *(len(tensor) for tensor in steps.values()))
    values = first.new_zeros(num_clips, longest, *first.shape[1:])
    keep = torch.zeros(num_clips, longest, dtype=torch.bool)
    for row, tensor in steps.items():
        values[row, : len(tensor)] = tensor
        keep[row, : len(tensor)] = True
    return values, keep
