"""Loads a model of transformers that sees or hears, with its processor, and refuses what they do not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.chat.local import forget_generation
from affectgpt.errors import CheckpointError, ConfigError, reason_of

_CLASSES = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForSeq2SeqLM")
_PARTS: Mapping[str, str] = {"video": "image_processor", "audio": "feature_extractor"}
_KINDS: Mapping[str, str] = {"video": "image", "audio": "audio"}


def load_model(name: str, revision: str | None, device: str, dtype: str, modalities: Sequence[str]) -> tuple[Any, Any]:
    """The model, in eval mode on its device, and its processor, which pads on the left.

    Of a model that also speaks, only what writes is loaded.

    Args:
        name: A folder, or a name on the Hugging Face hub.
        revision: Commit, tag or branch on the hub.
        device: Where the model runs.
        dtype: Name of a torch dtype, or ``auto``.
        modalities: What clips are to be shown with.

    Raises:
        CheckpointError: If they cannot be loaded.
        ConfigError: If a package is missing, or the processor does not take a modality.
    """
    import transformers

    source = {"revision": revision, "trust_remote_code": False}
    try:
        processor = transformers.AutoProcessor.from_pretrained(name, **source)
        check_processor(processor, name, modalities)
        kind = _class_of(transformers, name, source)
        model = kind.from_pretrained(name, dtype=dtype, weights_only=True, **source)
    except ImportError as error:
        raise ConfigError(
            f"the processor of {name!r} needs a package that is not installed: {reason_of(error)}. What models of "
            "transformers that see or hear need comes with: pip install 'affectgpt[baselines]'"
        ) from error
    except ConfigError:
        raise
    except Exception as error:  # a damaged folder may fail in any way
        raise CheckpointError(
            f"the model {name!r} cannot be loaded: {reason_of(error)}. Name a folder with its "
            "processor, or a model of the hub that transformers knows by itself"
        ) from error
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    forget_generation(model, processor.tokenizer)
    return model.to(device).eval(), processor


def check_processor(processor: Any, name: str, modalities: Sequence[str]) -> None:
    """Refuse what a processor or its chat template does not take, before any clip is read.

    Args:
        processor: The processor.
        name: The model's name.
        modalities: What clips are to be shown with.

    Raises:
        ConfigError: If it takes no pictures, no sound, or has no chat template; or if the template leaves out the
            marks of pictures or sound, or the words.
    """
    if getattr(processor, "tokenizer", None) is None or not getattr(processor, "chat_template", None):
        raise ConfigError(f"the processor of {name!r} has no chat template; use a model for conversations")
    shown = [one for one in modalities if one in _PARTS]
    for modality in shown:
        rest = ",".join(one for one in modalities if one != modality) or "text"
        if getattr(processor, _PARTS[modality], None) is None:
            raise ConfigError(
                f"the processor of {name!r} ({type(processor).__name__}) takes no {modality}; show it the rest: "
                f"--modalities {rest}"
            )
    try:
        plain = prompt_of(processor, [], "How?")
        said = {modality: prompt_of(processor, [_KINDS[modality]], "How?") for modality in shown}
        ignored = [modality for modality, words in said.items() if words == plain]
        lost = "the words" if "How?" not in plain else " and ".join(ignored)
    except Exception as error:  # a template is a program, which may end with anything
        raise ConfigError(
            f"the chat template of {name!r} cannot be used with {', '.join(modalities)}: {reason_of(error)}"
        ) from error
    if lost:
        raise ConfigError(
            f"the chat template of {name!r} leaves out {lost}, so that the model would not be shown what the record "
            "says; use a template for media in a list of contents, or other --modalities"
        )


def prompt_of(processor: Any, media: Sequence[str], words: str) -> str:
    """The prompt of one question by the processor's chat template.

    Args:
        processor: The processor.
        media: ``image`` or ``audio`` for each picture or sound, in order; they stand before the words.
        words: The text.
    """
    contents = [*({"type": kind} for kind in media), {"type": "text", "text": words}]
    turns = [{"role": "user", "content": contents}]
    prompt: str = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return prompt


def _class_of(transformers: Any, name: str, source: Mapping[str, Any]) -> Any:
    """The first of transformers' classes for models that see or hear which knows the model.

    Raises:
        ValueError: If none does.
    """
    config = transformers.AutoConfig.from_pretrained(name, **source)
    config = getattr(config, "thinker_config", config)  # of a model that also speaks, what writes
    for one in _CLASSES:
        kind = getattr(transformers, one, None)
        if kind is not None and type(config) in kind._model_mapping:
            return kind._model_mapping[type(config)]
    raise ValueError(f"transformers knows no {config.model_type!r} model that sees or hears and writes")
