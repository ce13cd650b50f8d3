"""The training section of a model card: what was learnt, from which weights, on which data, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from affectgpt.pages.escaping import for_markdown

NONE_RECORDED = (
    "None is recorded. Unless somebody trained it by other means, what is not read from files of its own is as it was "
    "initialised."
)
MERGED_ONLY = (
    "What follows is about the whole model. Only its language model is here, so no figure below is one of these files."
)
_SHOWN_DIGITS = 16
_AVERAGED = "The weights are an average over the steps ({}). "


def trainings(config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every training as a numbered list; each sentence is from the history.

    Args:
        config: The model's arguments.
        history: See ``affectgpt.checkpoints.history``.
    """
    origin = config.get("official") or {}
    if not origin and not history:
        yield NONE_RECORDED
        return
    number = 0
    if origin:
        number += 1
        yield (
            f"{number}. Trained by the authors of AffectGPT, and converted from their checkpoint (epoch "
            f"{for_markdown(origin.get('epoch'))}, {for_markdown(origin.get('layout'))}). The file does not say on "
            "what; their paper names MER-Caption+."
        )
    for one in history:
        number += 1
        yield from _mean(number, one) if "averaged" in one else _training(number, one)


def evaluation(history: Sequence[Mapping[str, Any]]) -> str:
    """What was measured of the weights, and what was not."""
    is_mean = bool(history) and "averaged" in history[-1]
    measured = [one for one in history if one.get("validation")]
    if is_mean and measured:
        said = "The figures above are those of single checkpoints; the mean of their weights was not evaluated."
    elif measured and measured[-1] is history[-1]:
        late = history[-1]["steps"] - (history[-1].get("validation_step") or 0)
        said = (
            "The figures above are of validations while it was trained, by which checkpoints and settings may have "
            "been chosen."
        )
        if late > 0:
            said += f" The last one was made {late:,} steps before these weights."
    elif measured:
        said = "The figures above were measured before the last training; the weights here were not evaluated."
    else:
        said = "No evaluation is recorded."
    return f"{said} This card has no figure of a test set; `affectgpt bench --model` measures them on MER-UniBench."


def data_licences(history: Sequence[Mapping[str, Any]]) -> str:
    """The licences of all training sets and of the models that training started from, as far as they were told."""
    sets = {str(found.get("name")): found.get("licence") for one in history for found in one.get("sets", [])}
    said = ""
    if sets:
        told = "; ".join(f"{for_markdown(name)}: {for_markdown(value or 'not told')}" for name, value in sets.items())
        said += f" Of the training sets: {told}."
    starts = {str(one["start"].get("name")): one["start"].get("licence") for one in history if one.get("start")}
    if starts:
        told = "; ".join(f"{for_markdown(name)}: {for_markdown(value or 'not told')}" for name, value in starts.items())
        said += f" Of the models that it was trained on from: {told}."
    return said


def _mean(number: int, one: Mapping[str, Any]) -> Iterator[str]:
    names = ", ".join(f"{for_markdown(each['name'])} ({each['steps']:,} steps)" for each in one["averaged"])
    yield f"{number}. Averaged: the weights are the mean of {len(one['averaged'])} checkpoints: {names}."


def _training(number: int, one: Mapping[str, Any]) -> Iterator[str]:
    learns = one.get("learns") or one["objective"]
    epochs = f"{one['epochs']:,} {'epoch' if one['epochs'] == 1 else 'epochs'}"
    yield f"{number}. Learnt from {for_markdown(learns)}: {one['steps']:,} steps in {epochs}, {_start(number, one)}."
    yield f"    - Data: {_sets(one['sets'])}."
    trained = ", ".join(f"{name} ({count:,})" for name, count in one["trained"].items())
    yield f"    - Trained weights: {for_markdown(trained or 'none')}."
    settings = dict(one.get("settings", {}))
    averaging = settings.pop("averaging", None)
    words = ", ".join(f"{name} {_value(value)}" for name, value in _flat(settings))
    yield f"    - Settings: {for_markdown(words or 'not recorded')}."
    average = _AVERAGED.format(", ".join(map(str, averaging))) if isinstance(averaging, list) else ""
    yield f"    - {for_markdown(average).lstrip()}{' ' if average else ''}{_validation(one)}"
    versions = ", ".join(f"{name} {value}" for name, value in one["versions"].items())
    yield f"    - With {for_markdown(versions)}."


def _start(number: int, one: Mapping[str, Any]) -> str:
    """What the weights were before."""
    start = one.get("start")
    if one.get("continues"):
        return f"going on with training {number - 1} with other data or settings"
    if start:
        known = start.get("digest")
        digest = f" (sha256 {str(known)[:_SHOWN_DIGITS]})" if known else ""
        anew = ", ".join(map(str, start.get("anew") or ()))
        rest = f", with {anew} as initialised" if anew else ""
        return for_markdown(f"from the weights of {start.get('name')}{digest}{rest}")
    if number > 1:
        return f"from the weights after training {number - 1}"
    return "from the networks named above, and the rest as initialised"


def _validation(one: Mapping[str, Any]) -> str:
    if not one["validation"]:
        return "No validation was made."
    figures = ", ".join(f"{name} {value:.4g}" for name, value in one["validation"].items())
    step = one.get("validation_step")
    after = "" if step is None else f" after step {step:,}"
    limit = f" ({one['validation_limit']})" if one.get("validation_limit") else ""
    shared = one.get("shared_clips")
    warned = f" {shared:,} of these clips are training clips too." if isinstance(shared, int) and shared else ""
    wheel = f", labels scored by the wheel {one['wheel']}" if one.get("wheel") and "val/f1" in one["validation"] else ""
    sets = _sets(one.get("validated_on", []))
    return f"Validation{after} on {sets}{for_markdown(limit + wheel)}: {for_markdown(figures)}.{warned}"


def _sets(sets: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(_set_words(found) for found in sets) or "data that nobody named"


def _set_words(found: Mapping[str, Any]) -> str:
    samples = found.get("samples")
    words = [f"{samples:,} samples" if isinstance(samples, int) else "samples not counted"]
    if found.get("digest"):
        words.append(f"digest {str(found['digest'])[:_SHOWN_DIGITS]}")
    if isinstance(found.get("weight"), int | float):
        words.append(f"weight {found['weight']:g}")
    titles = {"encoded_from": "features of", "pipeline": "annotated by the pipeline", "review": "corrected by people:"}
    for name in ("source", "licence", *titles):
        if found.get(name):
            words.append(f"{titles.get(name, name)} {_value(found[name])}")
    return f"{for_markdown(found.get('name'))} ({for_markdown(', '.join(words))})"


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its full name; what is not set is left out."""
    for name, value in settings.items():
        full = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping):
            yield from _flat(value, full)
        elif value not in (None, []):
            yield full, value


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
