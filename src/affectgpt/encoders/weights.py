"""Reads networks and their pre-processing from a local folder or the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from affectgpt.attention_backend import attention_options
from affectgpt.deferred_weights import network_without_weights
from affectgpt.errors import CheckpointError, ConfigError, reason_of

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_config(owner: str, path: str, revision: str | None, model_types: Collection[str]) -> Any:
    """Read a network's configuration.

    Args:
        owner: The encoder that asks, for the message.
        path: Local folder, or id on the hub.
        revision: Branch, tag or commit on the hub.
        model_types: The values of ``model_type`` that the encoder can run.

    Returns:
        The configuration object of transformers.

    Raises:
        CheckpointError: If nothing can be read there.
        ConfigError: If the network has another type.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(owner, path, error) from error
    if config.model_type not in model_types:
        raise ConfigError(
            f"{owner}: {path!r} has a network of type {config.model_type!r}, but this encoder supports "
            f"{', '.join(sorted(model_types))}; choose other weights or another encoder"
        )
    return config


def load_network(
    owner: str,
    network_class: Any,
    path: str,
    revision: str | None,
    dtype: str,
    attention: str = "auto",
    **kwargs: Any,
) -> Any:
    """Read a network with its weights; under ``torch.device("meta")`` only its shapes, without weights.

    Args:
        owner: The encoder that asks, for the message.
        network_class: A class of transformers that has ``from_pretrained``.
        path: Local folder, or id on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: A name in ``DTYPES``.
        attention: See ``choose_attention``.
        kwargs: Further arguments of ``from_pretrained``.

    Raises:
        CheckpointError: If the weights cannot be read, do not fit, or are incomplete.
        ConfigError: If ``dtype`` is no name in ``DTYPES``, or ``attention`` no backend that the network can run.
    """
    from safetensors import SafetensorError

    if dtype not in DTYPES:
        raise ConfigError(f"{owner}: unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    built = getattr(network_class, "_model_mapping", {}).get(type(kwargs["config"]), network_class)
    kwargs |= attention_options(attention, DTYPES[dtype], built)
    if torch.get_default_device().type == "meta":
        return getattr(network_class, "from_config", network_class)(kwargs["config"]).to(DTYPES[dtype])
    network = network_without_weights(lambda: built._from_config(dtype=DTYPES[dtype], **kwargs), path, revision)
    if network is not None:
        return network
    try:
        with _without_report():
            network, info = network_class.from_pretrained(
                path,
                revision=revision,
                dtype=DTYPES[dtype],
                output_loading_info=True,
                trust_remote_code=False,
                weights_only=True,
                **kwargs,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise _unreadable(owner, path, error) from error
    # Only SpecAugment reads this vector, and no encoder here uses SpecAugment.
    missing = sorted(key for key in info["missing_keys"] if not key.endswith("masked_spec_embed"))
    if missing:
        raise CheckpointError(
            f"{owner}: the weights in {path!r} lack {len(missing)} tensors, such as {missing[0]!r}; they would stay "
            "random. Use a complete checkpoint of this architecture"
        )
    return network


def read_preprocessor(owner: str, path: str, revision: str | None) -> dict[str, Any]:
    """Read ``preprocessor_config.json``; empty if there is none.

    Args:
        owner: The encoder that asks, for the message.
        path: Local folder, or id on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        CheckpointError: If the file is there but is not a JSON object.
    """
    from transformers.utils import cached_file

    name = "preprocessor_config.json"
    file = cached_file(
        path,
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if file is None:
        return {}
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{owner}: {name} in {path!r} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{owner}: {name} in {path!r} is not a JSON object; fetch it again")
    return content


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from listing each tensor of CLIP's text tower; missing tensors are checked here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _unreadable(owner: str, path: str, error: Exception) -> CheckpointError:
    if Path(path).is_dir():
        remedy = "the folder needs config.json and its weights (model.safetensors), as save_pretrained writes them"
    else:
        remedy = "no such local folder; fetch it with `hf download` where the hub can be reached, and give that folder"
    return CheckpointError(f"{owner}: cannot read a network from {path!r}: {reason_of(error)}; {remedy}")
