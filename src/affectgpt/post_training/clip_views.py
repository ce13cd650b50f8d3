"""Answers to a clip with one of its inputs alone, and with one masked or swapped for another clip's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from affectgpt.errors import ConfigError
from affectgpt.media.profile import modality_of
from affectgpt.metrics.labels import parse_labels
from affectgpt.part import in_eval_mode
from affectgpt.types import Batch, Features, Modality

WAYS = ("mask", "swap")
"""How an input is taken away: left out, or replaced by that of a clip with other true labels."""

_NAMES: Mapping[str, str] = {Modality.VISUAL: "picture", Modality.AUDIO: "sound"}

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ClipViews:
    """Labels of the answers to P clips, the most likely word each time.

    Attributes:
        whole: To all inputs.
        alone: ``picture``, ``sound`` or ``words`` to the labels from this input alone; none for a clip that lacks it.
        without: The same names to the labels once this input is masked or swapped.
        blind: Labels that the model names though nothing is shown to it.
    """

    whole: Rows
    alone: Mapping[str, Rows]
    without: Mapping[str, Rows]
    blind: tuple[str, ...]


def check_way(way: str) -> str:
    """Read how an input is taken away.

    Raises:
        ConfigError: If there is no such way.
    """
    if way not in WAYS:
        raise ConfigError(f"way is {way!r}; choose one of {', '.join(WAYS)}")
    return way


@torch.no_grad()
def answer_views(model: Any, batch: Batch, way: str = "mask", max_new_tokens: int | None = None) -> ClipViews:
    """Answer clips by their views; frozen encoders run once.

    Args:
        model: An ``AffectGPT``; its training mode is left as it is.
        batch: Clips, on the model's device.
        way: See ``WAYS``.
        max_new_tokens: Longest answer; the model's own limit by default.

    Raises:
        ConfigError: If there is no such way.
    """
    check_way(way)
    longest = max_new_tokens or model.max_new_tokens
    inputs = inputs_of(model)
    with in_eval_mode(model):
        out = model(batch, longest)
        frozen = {name: found for name, found in out.features.items() if model.encoder(name).frozen}
        batch = replace(batch, features={**batch.features, **frozen})
        alone, without = {}, {}
        for name, slots in inputs.items():
            others = [slot for other, theirs in inputs.items() if other != name for slot in theirs]
            answered = model(batch, longest, hide=others)
            has = [bool({*used} & {*slots}) for used in answered.used]
            if name == "words":
                has = [bool(words and words.strip()) for words in batch.subtitles]
            rows = _labels(answered.texts)
            alone[name] = tuple(labels if there else () for labels, there in zip(rows, has, strict=True))
            if way == "mask":
                without[name] = _labels(model(batch, longest, hide=slots).texts)
            else:
                without[name] = _labels(model(swapped(batch, slots, model), longest).texts)
        everything = [slot for slots in inputs.values() for slot in slots]
        (blind,) = _labels(model(batch.rows(range(1)), longest, hide=everything).texts)
    return ClipViews(_labels(out.texts), alone, without, blind)


def inputs_of(model: Any) -> dict[str, list[str]]:
    """What a model's prompt shows: ``picture``, ``sound``, other modalities and ``words`` to the slots with them."""
    inputs: dict[str, list[str]] = {}
    for name, spec in model.specs.items():
        kind = modality_of(str(spec.source))
        inputs.setdefault(_NAMES.get(kind, kind), []).append(name)
    if "subtitle" in model.slots:
        inputs["words"] = ["subtitle"]
    return inputs


def swapped(batch: Batch, slots: Sequence[str], model: Any) -> Batch:
    """The batch with some slots filled from other clips, as far as possible with none of the same true labels.

    Args:
        batch: Clips.
        slots: Names of streams, or ``subtitle``.
        model: The model, which knows the source of each stream.
    """
    order = partners(batch.labels or ((),) * len(batch))
    sources = {str(model.specs[name].source) for name in slots if name in model.specs}
    rows = torch.tensor(order)

    def taken(values: Any) -> Any:
        return values.index_select(0, rows.to(values.device))

    features = {
        name: Features(taken(one.hidden), taken(one.keep)) if name in slots else one
        for name, one in batch.features.items()
    }
    subtitles = tuple(batch.subtitles[row] for row in order) if "subtitle" in slots else batch.subtitles
    return replace(
        batch,
        media={name: taken(one) if name in sources else one for name, one in batch.media.items()},
        keep={name: taken(one) if name in sources else one for name, one in batch.keep.items()},
        features=features,
        subtitles=subtitles,
    )


def partners(labels: Sequence[Sequence[str]]) -> list[int]:
    """For each clip the next one that shares no true label with it, or else simply the next one.

    Examples:
        >>> partners([["glad"], ["glad"], ["sad"]])
        [2, 2, 0]
    """
    number = len(labels)
    found = []
    for i in range(number):
        others = [(i + step) % number for step in range(1, number)]
        fit = [j for j in others if not {*labels[i]} & {*labels[j]}]
        found.append(next(iter([*fit, *others, i])))
    return found


def _labels(texts: Sequence[str]) -> Rows:
    return tuple(tuple(dict.fromkeys(parse_labels(text))) for text in texts)
