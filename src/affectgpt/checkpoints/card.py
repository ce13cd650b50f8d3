"""Writes the model card of a stored model: its parts, what it was trained on, its licences, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import affectgpt
from affectgpt.checkpoints.history import history_of, trained_parts
from affectgpt.pages.escaping import for_markdown

LIMITS = (
    "The labels are what a model says of how a person appears, not what the person feels. In the European Union, "
    "inferring the emotions of people at work and in education is banned (AI Act, article 5). Do not decide anything "
    "about a person by it."
)
_PACKAGED = {"smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def model_card(model: Any, config: Mapping[str, Any], tensors: Mapping[str, Tensor], licence: str | None) -> str:
    """Markdown with the parts of a model, its trainings, its licences and the call that loads it.

    Args:
        model: An ``AffectGPT``.
        config: The model's arguments, as they are stored.
        tensors: The stored tensors.
        licence: Licence of the weights, if it is known.
    """
    trained = trained_parts(model)
    rows = [
        f"| {for_markdown(name)} | {_shown(stream['encoder'])} | {_shown(stream['pooling'])} "
        f"| {'yes' if f'encoder {name}' in trained else 'no'} |"
        for name, stream in config["streams"].items()
    ]
    count = sum(tensor.numel() for tensor in tensors.values())
    parts = ", ".join(f"{name} ({number:,})" for name, number in trained.items()) or "none"
    return "\n".join(
        [
            *_front(config, licence),
            "",
            "# AffectGPT model",
            "",
            "| stream | encoder | pooling | encoder is trained |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Pre-fusion: {_shown(config['prefusion'])}. Projector: "
            f"{_shown(config.get('projector', {'name': 'linear'}))}. Language model: "
            f"{_shown(config['llm'])}. Prompt: {config['style']}.",
            f"Stored here: {count:,} weights; frozen networks that have files of their own are read from the "
            "locations in `config.json`.",
            f"Weights that training changes: {parts}.",
            "",
            *_origin(config, history_of(model), licence),
            "",
            "## Use",
            "",
            f"Written by affectgpt {affectgpt.__version__}.",
            "",
            "```python",
            "from affectgpt import AffectGPT",
            "",
            'model = AffectGPT.from_pretrained("this repository or folder")',
            'print(model.predict("clip.mp4", subtitle="the spoken words").labels)',
            "```",
            "",
        ]
    )


def merged_card(model: Any, facts: Mapping[str, Any]) -> str:
    """The card of a language model that was taken out of a model, adapters merged.

    Args:
        model: The ``AffectGPT``.
        facts: What was exported, see ``MergedLLM``.
    """
    config = model.hparams
    return "\n".join(
        [
            *_front(config, None),
            "",
            "# The language model of an AffectGPT model",
            "",
            f"{_shown(config['llm'])} with {facts['adapters']} adapters merged, in {facts['dtype']}; its logits "
            f"differ by {facts['logit_difference']:.1e} of the largest from those of the model. It expects the "
            "embeddings of the model's encoders in its prompt (`affectgpt serve --vllm`); without them it "
            "has only words to go by.",
            "",
            *_origin(config, history_of(model), None),
            "",
            f"Written by affectgpt {facts['affectgpt']}.",
            "",
        ]
    )


def _origin(config: Mapping[str, Any], history: Sequence[Mapping[str, Any]], licence: str | None) -> Iterator[str]:
    """What it learnt from, and so under which terms and within which limits it may be used."""
    yield from ("## Training", "", *_trainings(config, history), "")
    yield from ("## Licence", "", _licence(config, history, licence), "")
    yield from ("## Limits", "", LIMITS)


def _front(config: Mapping[str, Any], licence: str | None) -> Iterator[str]:
    """The lines that the hub reads."""
    yield "---"
    yield "library_name: affectgpt"
    yield "tags: [emotion-recognition, multimodal]"
    if licence is not None:
        yield f"license: {json.dumps(licence)}"
    if (base := _base_model(config)) is not None:
        yield f"base_model: {json.dumps(base)}"
    yield "---"


def _base_model(config: Mapping[str, Any]) -> str | None:
    """The hub id of the language model, if it has one that is known."""
    path = config["llm"].get("args", {}).get("path")
    if path is None:
        return _PACKAGED.get(config["llm"]["name"])
    is_id = str(path).count("/") == 1 and not str(path).startswith((".", "/", "~")) and not Path(path).exists()
    return str(path) if is_id else None


def _trainings(config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    origin = config.get("official") or {}
    if origin:
        yield f"- Trained by the authors of AffectGPT, and converted from their checkpoint (epoch {origin['epoch']}, "
        yield f"  {for_markdown(origin['layout'])}). The file does not say on what; their paper names MER-Caption+."
    for one in history:
        validation = ", ".join(f"{name} {value:.4g}" for name, value in one["validation"].items())
        versions = ", ".join(f"{name} {value}" for name, value in one["versions"].items())
        sets = "; ".join(_set_words(found) for found in one["sets"]) or "data that its datamodule does not name"
        yield f"- {for_markdown(one['objective'])}: {one['steps']:,} steps in {one['epochs']:,} epochs, on {sets}."
        yield f"  Trained: {for_markdown(', '.join(one['trained']) or 'nothing')}."
        yield f"  Last validation: {for_markdown(validation or 'none')}. With {for_markdown(versions)}."
    if not origin and not history:
        yield "None is recorded: what is not read from files of its own is as it was initialised."


def _set_words(found: Mapping[str, Any]) -> str:
    samples = found.get("samples")
    count = f"{samples:,} samples" if isinstance(samples, int) else "samples not counted"
    words = [count, *(f"{name} {found[name]}" for name in ("source", "licence") if found.get(name))]
    return f"{for_markdown(found.get('name'))} ({for_markdown(', '.join(words))})"


def _licence(config: Mapping[str, Any], history: Sequence[Mapping[str, Any]], licence: str | None) -> str:
    """What may be done with the weights, as far as it is known."""
    told = (
        f"Of the weights here: {for_markdown(licence)}." if licence else "Nobody has named a licence for these weights."
    )
    names = {str(found.get("name")): found.get("licence") for one in history for found in one["sets"]}
    sets = "; ".join(f"{for_markdown(name)}: {for_markdown(value or 'not told')}" for name, value in names.items())
    data = f" Of the training sets: {sets}." if sets else ""
    theirs = " The authors allow their weights for research without commerce only." if config.get("official") else ""
    return (
        f"{told}{data}{theirs} The networks that it is built on have licences of their own "
        f"({_shown(config['llm'])} and the encoders above); what any of these forbids, the model may not be used for."
    )


def _shown(spec: Mapping[str, Any]) -> str:
    """A part by name, and the last name of where its weights come from; whole paths tell of the machine."""
    path = spec.get("args", {}).get("path")
    if path is None:
        return f"`{spec['name']}`"
    return f"`{spec['name']}` ({for_markdown(Path(path).name if Path(path).is_absolute() else path)})"
