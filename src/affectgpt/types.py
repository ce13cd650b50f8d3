"""The values that travel between the parts, and the shape legend.

Shape letters used throughout the library: ``B`` batch, ``T`` time (frames or audio segments), ``S`` audio segments,
``N`` audio samples, ``H`` height, ``W`` width, ``D`` feature width, ``K`` tokens after pooling, ``L`` sequence of the
language model, ``E`` width of the language model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Modality(str):
    """The kind of signal that an encoder reads: an open name; equal names are one modality.

    The library reads ``Modality.VISUAL`` and ``Modality.AUDIO``; a plug-in names its own, ``Modality("physiology")``.

    Raises:
        ConfigError: If the name is not in lower case, with digits, dashes and underscores after the first letter.

    Examples:
        >>> Modality("visual") == Modality.VISUAL
        True
    """

    __slots__ = ()
    VISUAL: ClassVar[Modality]
    AUDIO: ClassVar[Modality]

    def __new__(cls, name: str) -> Modality:  # noqa: D102  described above
        if not isinstance(name, str) or not _MODALITY.fullmatch(name):
            raise ConfigError(f"a modality is a name in lower case, such as 'physiology', but got {name!r:.80}")
        return super().__new__(cls, name)


_MODALITY = re.compile(r"[a-z][a-z0-9_-]{0,39}")
Modality.VISUAL = Modality("visual")
Modality.AUDIO = Modality("audio")


@dataclass
class Features:
    """What an encoder returns; not frozen, because Lightning converts the precision of a batch field by field.

    Attributes:
        hidden: Feature vectors, float ``[B, T, D]``.
        keep: Bool ``[B, T]``; ``True`` marks a real step, ``False`` padding or a missing modality.
    """

    hidden: Tensor
    keep: Tensor

    def to(self, device: torch.device | str, **kwargs: Any) -> Features:
        """Copy to a device; towards a GPU without waiting for the copy, and the host remembers which rows are empty."""
        return Features(_sent(self.hidden, device, kwargs), note_rows(_sent(self.keep, device, kwargs), self.keep))

    def pin_memory(self) -> Features:
        """Copy to page-locked memory, for faster transfer to a GPU."""
        return Features(self.hidden.pin_memory(), self.keep.pin_memory())


@dataclass(frozen=True)
class Clip:
    """One clip, decoded, before batching.

    Attributes:
        key: Unique name of the sample; every message about the clip carries it.
        media: Source name to its tensor ``[T, ...]``, real steps only, as the source makes it (see
            ``affectgpt.sources.Source``): uint8 ``[T, 3, H, W]`` of frames, float32 ``[S, N]`` of sound. A missing
            source is simply absent.
        subtitle: Spoken words, or ``None`` if unknown.
        labels: Open-vocabulary emotion labels; empty if unknown.
        description: Free-form emotion description, or ``None``.
        features: Stream name to pre-computed feature vectors, float ``[T, D]``; T is 0 if the clip lacks the stream.
        duration_seconds: Length of the clip, or ``None`` if unknown.
        extra: Other fields of the clip's manifest record (plain JSON).
    """

    key: str
    media: Mapping[str, Tensor] = field(default_factory=dict)
    subtitle: str | None = None
    labels: tuple[str, ...] = ()
    description: str | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    duration_seconds: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PreferencePair:
    """Two descriptions of a clip of which people prefer one.

    Attributes:
        better: The preferred description.
        worse: The other one.
        is_decided: ``False`` if people find both equal, or nobody has said; the order then means nothing.
    """

    better: str
    worse: str
    is_decided: bool

    @classmethod
    def of(cls, clip: Clip) -> PreferencePair | None:
        """The pair that a clip's record has under ``pair``, as ``affectgpt pack`` stores it; ``None`` without one.

        Examples:
            >>> PreferencePair.of(Clip("c", extra={"pair": {"a1": "Glad.", "a2": "Sad.", "preference": "a2"}}))
            PreferencePair(better='Sad.', worse='Glad.', is_decided=True)
        """
        pair: Any = clip.extra.get("pair")
        first, second = (pair.get(key) if isinstance(pair, Mapping) else None for key in ("a1", "a2"))
        if not (isinstance(first, str) and isinstance(second, str)):
            return None
        preferred = pair.get("preference")
        if preferred == "a2":
            first, second = second, first
        return cls(first, second, preferred in ("a1", "a2"))


@dataclass
class Batch:
    """Clips side by side, with their questions and answers; not frozen, see ``Features``.

    Attributes:
        keys: One key per sample, B in all.
        media: Source name to ``[B, T, ...]``, as the source collates it: uint8 ``[B, T, 3, H, W]`` of frames, float32
            ``[B, S, N]`` of sound; rows of samples that lack the source are zero.
        keep: Source name to bool ``[B, T]``; ``True`` marks a real frame, segment or other step.
        subtitles: Spoken words, ``None`` if unknown.
        questions: The question for each sample.
        answers: The answers to learn, or ``None`` if there is nothing to learn.
        labels: Target labels of each sample, for the metrics; empty if unknown.
        features: Stream name to pre-computed features; the encoder of such a stream is not run.
        wordless: Whether each sample's prompt leaves the subtitle out on purpose, known or not; empty for none.
        answer_ids: For each sample, the tokens of one or more answers, equally many to each, their ends included; they
            are judged or learnt in place of ``answers``.
        pairs: Two descriptions of each sample, where it has them; empty if no sample does.
    """

    keys: tuple[str, ...]
    media: Mapping[str, Tensor]
    keep: Mapping[str, Tensor]
    subtitles: tuple[str | None, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...] | None = None
    labels: tuple[tuple[str, ...], ...] = ()
    features: Mapping[str, Features] = field(default_factory=dict)
    wordless: tuple[bool, ...] = ()
    answer_ids: tuple[tuple[tuple[int, ...], ...], ...] | None = None
    pairs: tuple[PreferencePair | None, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str, **kwargs: Any) -> Batch:
        """Copy every tensor to a device; see ``Features.to``."""
        return replace(
            self,
            media={name: _sent(value, device, kwargs) for name, value in self.media.items()},
            keep={name: note_rows(_sent(keep, device, kwargs), keep) for name, keep in self.keep.items()},
            features={name: value.to(device, **kwargs) for name, value in self.features.items()},
        )

    def pin_memory(self) -> Batch:
        """Copy every tensor to page-locked memory, for faster transfer to a GPU."""
        return replace(
            self,
            media={name: value.pin_memory() for name, value in self.media.items()},
            keep={name: value.pin_memory() for name, value in self.keep.items()},
            features={name: value.pin_memory() for name, value in self.features.items()},
        )

    def rows(self, rows: Sequence[int]) -> Batch:
        """Some of the samples, in this order, repeats included; media stay padded to the whole batch.

        Args:
            rows: Positions; a ``range`` gives views of the tensors, anything else copies.
        """
        given = list(rows)
        cut = slice(rows.start, rows.stop) if isinstance(rows, range) and rows.step == 1 else given

        def of(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[row] for row in given)

        return replace(
            self,
            media={name: value[cut] for name, value in self.media.items()},
            keep={name: value[cut] for name, value in self.keep.items()},
            keys=of(self.keys),
            subtitles=of(self.subtitles),
            questions=of(self.questions),
            answers=None if self.answers is None else of(self.answers),
            labels=of(self.labels) if self.labels else (),
            features={name: Features(value.hidden[cut], value.keep[cut]) for name, value in self.features.items()},
            answer_ids=None if self.answer_ids is None else of(self.answer_ids),
            wordless=of(self.wordless) if self.wordless else (),
            pairs=of(self.pairs) if self.pairs else (),
        )


@dataclass
class Prediction:
    """The answer for one clip; not frozen, because Lightning copies what ``predict_step`` returns field by field.

    Attributes:
        key: The sample's key, or the file's name.
        text: The model's answer, word for word.
        labels: Open-vocabulary labels parsed from the text.
        description: The text if a description was asked for, else ``None``.
        sentiment: ``"positive"``, ``"negative"``, ``"neutral"``, or ``None`` if no label is in the vocabulary.
        used: Slots of the prompt that were filled, the subtitle included.
        missing: Inputs that the clip lacked, with the reason: ``{"audio": "the file has no audio track"}``.
        seconds: Wall-clock time of each stage.
        transcript: The words that a speech recogniser wrote and that were used as the subtitle, or ``None``.
    """

    key: str
    text: str
    labels: tuple[str, ...]
    description: str | None = None
    sentiment: str | None = None
    used: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    transcript: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the answer."""
        return {
            "key": self.key,
            "text": self.text,
            "labels": list(self.labels),
            "description": self.description,
            "sentiment": self.sentiment,
            "used": list(self.used),
            "missing": dict(self.missing),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "transcript": self.transcript,
        }


def note_rows(moved: Tensor, keep: Tensor) -> Tensor:
    """Note at a mask on a device which of its rows hold anything real, so that nobody need ask the device.

    Args:
        moved: Bool ``[B, T]``, the copy on the device.
        keep: The mask that it is a copy of.

    Returns:
        ``moved``.
    """
    if moved is not keep and moved.device.type != "cpu":
        moved.rows_kept = rows_kept(keep)  # type: ignore[attr-defined]
    return moved


def rows_kept(keep: Tensor) -> Tensor:
    """Which rows of a mask ``[B, T]`` hold anything real: bool ``[B]`` on the CPU.

    It waits for the device only where ``note_rows`` was not called.
    """
    noted: Tensor | None = getattr(keep, "rows_kept", None)
    return keep.any(1).cpu() if noted is None else noted


def _sent(value: Tensor, device: torch.device | str, kwargs: Mapping[str, Any]) -> Tensor:
    # towards the CPU, a copy that is not waited for would be read before it is there
    without_waiting = not str(device).startswith("cpu") and value.device.type == "cpu"
    return value.to(device, **{"non_blocking": without_waiting, **kwargs})


Labels = Sequence[Sequence[str]]
"""One sequence of labels per sample."""
