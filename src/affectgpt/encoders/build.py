"""Builds encoders from their specs, and caches the facts of those whose weights come from files."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from affectgpt import __version__
from affectgpt.deferred_weights import reading_at_once
from affectgpt.encoders.base import Encoder
from affectgpt.encoders.feature_key import EncoderFacts, is_from_file
from affectgpt.encoders.untrained import watch_random_weights
from affectgpt.errors import CheckpointError
from affectgpt.files import cache_folder, write_whole
from affectgpt.registry import ENCODERS, Spec


def build_encoder(spec: Spec | str, *, allow_import: bool = True) -> Encoder:
    """Build an encoder.

    Frozen random weights are reported at their first use, see ``watch_random_weights``. Reading weights from a file
    leaves the random generator unchanged, so that the other parts of a model get the same random weights with such an
    encoder and with a stand-in.

    Args:
        spec: Name and arguments.
        allow_import: Whether it may be named as code, ``package.module:Class``; see ``Registry.get``.

    Raises:
        CheckpointError: If its weights cannot be read.
        ConfigError: If the name or an argument is wrong.
    """
    state = torch.get_rng_state()
    encoder: Encoder = ENCODERS.build(spec, allow_import=allow_import)
    if is_from_file(encoder):
        torch.set_rng_state(state)
    else:
        watch_random_weights(encoder, Spec.of(spec).name)
    return encoder


def facts_of_file(spec: Spec | str, built: Encoder | None = None) -> EncoderFacts | None:
    """The facts of an encoder whose weights come from a file; it is not loaded if they are cached.

    They are cached in the user's cache folder by spec, and by path, size and time of the files that the spec names. The
    first time, and after any change, the encoder is built once and discarded.

    Args:
        spec: Name and arguments of the encoder.
        built: The encoder, if it was just built.

    Returns:
        The facts; ``None`` if the weights cannot be read on this machine.
    """
    spec = Spec.of(spec)
    known = _recall(spec)
    if known is None:
        try:
            if built is None:
                with reading_at_once():  # a digest of its weights is wanted, so they cannot be left for later
                    built = build_encoder(spec)
            known = EncoderFacts.of(built)
        except CheckpointError:
            return None
        remember(spec, known)
    return known


def remember(spec: Spec | str, facts: EncoderFacts) -> None:
    """Cache the facts of an encoder that was just built, if its weights come from a file."""
    path = _note(Spec.of(spec))
    if path is not None and facts.from_file:
        write_whole(path, json.dumps(asdict(facts), indent=1) + "\n")


def _recall(spec: Spec) -> EncoderFacts | None:
    path = _note(spec)
    if path is None:
        return None
    try:
        return EncoderFacts(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # missing or incomplete: it is written again


def _note(spec: Spec) -> Path | None:
    """Path of the cached facts of a spec; ``None`` if the spec names no file."""
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in _files(spec)]
    if not stamps:
        return None
    name = hashlib.sha256(json.dumps([spec.to_json(), __version__, stamps]).encode()).hexdigest()[:24]
    folder = cache_folder()
    return folder / "encoders" / f"{name}.json"


def _files(spec: Spec) -> list[Path]:
    """Every file that an argument names: directly, through its folder, or through a hub id whose snapshot is cached."""
    found: list[Path] = []
    for value in _arguments(spec):
        path = Path(value)
        if not path.exists():
            snapshot = _snapshot(value, spec.args.get("revision"))
            if snapshot is None:
                continue
            path = snapshot
        found += sorted(inner for inner in path.iterdir() if inner.is_file()) if path.is_dir() else [path.absolute()]
    return found


def _arguments(spec: Spec) -> Iterator[str]:
    """The string arguments of the part, including defaults."""
    takes = inspect.signature(ENCODERS.get(spec.name)).parameters
    values: dict[str, Any] = {name: parameter.default for name, parameter in takes.items()}
    yield from (value for value in {**values, **spec.args}.values() if isinstance(value, str) and value)


def _snapshot(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None
