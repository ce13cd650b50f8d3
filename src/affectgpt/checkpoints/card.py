"""Writes the model card of a stored model: its parts, what it was trained on, its licences, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import affectgpt
from affectgpt.checkpoints.card_training import MERGED_ONLY, data_licences, evaluation, trainings
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
    changes = trained_parts(model)
    history = history_of(model)
    rows = [
        f"| {for_markdown(name)} | {_shown(stream['encoder'])} | {_encoder_weights(model, name, history)} "
        f"| {_shown(stream['pooling'])} |"
        for name, stream in config["streams"].items()
    ]
    count = sum(tensor.numel() for tensor in tensors.values())
    parts = ", ".join(f"{name} ({number:,})" for name, number in changes.items()) or "none"
    return "\n".join(
        [
            *_front(config, licence),
            "",
            "# AffectGPT model",
            "",
            "| stream | encoder | weights of the encoder | pooling |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Pre-fusion: {_shown(config['prefusion'])}. Projector: "
            f"{_shown(config.get('projector', {'name': 'linear'}))}. Language model: "
            f"{_shown(config['llm'])}{_adapters(config['llm'])}. Prompt: {config['style']}"
            f"{_slots(config.get('slots'))}.",
            f"Stored here: {count:,} weights; frozen networks that have files of their own are read from the "
            "locations in `config.json`.",
            f"Weights that are not frozen: {parts}.",
            "",
            *_origin(config, history, licence),
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
            *_front(config, model.record.licence),
            "",
            "# The language model of an AffectGPT model",
            "",
            f"{_shown(config['llm'])} with {facts['adapters']} adapters merged, in {facts['dtype']}; its logits "
            f"differ by {facts['logit_difference']:.1e} of the largest from those of the model. It expects the "
            "embeddings of the model's encoders in its prompt (`affectgpt serve --vllm`); without them it "
            "has only words to go by.",
            "",
            *_origin(config, history_of(model), model.record.licence, before=MERGED_ONLY),
            "",
            f"Written by affectgpt {facts['affectgpt']}.",
            "",
        ]
    )


def _origin(
    config: Mapping[str, Any], history: Sequence[Mapping[str, Any]], licence: str | None, before: str = ""
) -> Iterator[str]:
    """What it learnt from, and so under which terms and within which limits it may be used."""
    yield from ("## Training", "", *([before, ""] if before else []), *trainings(config, history), "")
    yield from ("## Evaluation", "", evaluation(history), "")
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


def _licence(config: Mapping[str, Any], history: Sequence[Mapping[str, Any]], licence: str | None) -> str:
    """What may be done with the weights, as far as it is known."""
    told = (
        f"Of the weights here: {for_markdown(licence)}." if licence else "Nobody has named a licence for these weights."
    )
    theirs = " The authors allow their weights for research without commerce only." if config.get("official") else ""
    return (
        f"{told}{data_licences(history)}{theirs} The networks that it is built on have licences of their own "
        f"({_shown(config['llm'])} and the encoders above); what any of these forbids, the model may not be used for."
    )


def _shown(spec: Mapping[str, Any]) -> str:
    """A part by name, and the last name of where its weights come from; whole paths tell of the machine."""
    path = spec.get("args", {}).get("path")
    if path is None:
        return f"`{spec['name']}`"
    return f"`{spec['name']}` ({for_markdown(Path(path).name if Path(path).is_absolute() else path)})"


def _encoder_weights(model: Any, name: str, history: Sequence[Mapping[str, Any]]) -> str:
    """Where the weights of an encoder come from."""
    if any(f"encoder {name}" in one.get("trained", {}) for one in history):
        return "trained, see below"
    if any(key.startswith(f"encoders.{name}.") for key in model.network.restored_keys()):
        return "as in its own file"
    return "stored here, no training of them is recorded"


def _adapters(llm: Mapping[str, Any]) -> str:
    """The adapters of a language model that says in its arguments how large they are."""
    lora = llm.get("args", {}).get("lora")
    return f" with LoRA of rank {lora['rank']}" if isinstance(lora, Mapping) and "rank" in lora else ""


def _slots(slots: Sequence[str] | None) -> str:
    return "" if slots is None else f", which shows only {for_markdown(', '.join(slots))}"
