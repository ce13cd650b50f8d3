"""The single file that training writes: its content, and loading a model from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from affectgpt.checkpoints.history import Origin, history_of, parts_anew, read_history, read_licence
from affectgpt.checkpoints.io import SAME_MATHS, compare_config, load_checkpoint
from affectgpt.checkpoints.plugins import announce_versions, check_installed, plugins_of
from affectgpt.checkpoints.replaced import REPLACEABLE, kept_tensors
from affectgpt.checkpoints.shard_folder import is_shard_folder
from affectgpt.checkpoints.storable import Storable, check_names, fill, only_our_errors
from affectgpt.errors import CheckpointError
from affectgpt.files import draft
from affectgpt.lightning_privates import writes_shards
from affectgpt.media.profile import MediaProfile

M = TypeVar("M", bound=Storable)


def is_file(source: str | Path) -> bool:
    """Whether a stored model is what training wrote, or one file; else it is a folder to share, or an id on the hub."""
    return Path(source).is_file() or Path(source).suffix in (".ckpt", ".pth") or is_shard_folder(source)


def save(model: Storable, path: str | Path) -> None:
    """Write a model as one file; see ``AffectGPT.save_checkpoint``."""
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    with draft(path) as file:
        torch.save(checkpoint, file)


def load(cls: type[M], path: str | Path, *, allow_import: bool) -> M:
    """Build a model from a file; see ``AffectGPT.from_checkpoint``.

    Raises:
        CheckpointError: If the file cannot be read or does not fit.
    """
    checkpoint = load_checkpoint(path, allow_import=allow_import)
    with only_our_errors(path):
        check_installed(plugin_notes(checkpoint), checkpoint["hyper_parameters"], path)
        model = cls.from_config({**checkpoint["hyper_parameters"], "allow_import": allow_import})
        model.on_load_checkpoint(checkpoint)
    fill(model, checkpoint["state_dict"], path)
    model.record.origin = Origin.of(path, files_of(path), model.record.licence)
    return model


def start_from(model: Storable, path: str | Path) -> None:
    """Start from the weights in a file.

    Raises:
        CheckpointError: If it cannot be read, computes something else than this model, or has other tensors.
    """
    checkpoint = load_checkpoint(path, allow_import=True)  # its arguments are only compared; nothing is built from them
    with only_our_errors(path):
        kept = kept_tensors(model, _with_media(checkpoint["hyper_parameters"]), checkpoint["state_dict"])
        # replaced parts are allowed to differ; the rest is compared as when a run is resumed
        theirs = {**checkpoint["hyper_parameters"], **{name: model.hparams[name] for name in REPLACEABLE}}
        model.on_load_checkpoint({**checkpoint, "hyper_parameters": theirs, "state_dict": kept})
    fill(model, kept, path)
    begun = parts_anew(kept, checkpoint["state_dict"])
    model.record.origin = Origin.of(path, files_of(path), model.record.licence, begun)


def files_of(path: str | Path) -> list[Path]:
    """The files of a checkpoint: itself, or those of a folder of shards."""
    return sorted(file for file in Path(path).iterdir() if file.is_file()) if Path(path).is_dir() else [Path(path)]


def add_facts(model: Any, checkpoint: dict[str, Any]) -> None:
    """Note prompt style, plug-ins and history; leave out frozen weights that parts read from their own files.

    Args:
        model: An ``AffectGPT``.
        checkpoint: The checkpoint to be written; changed in place.
    """
    # shards are read back key by key, and must have them all
    sharded = model.network.is_sharded and writes_shards(model.trainer.strategy)
    if "state_dict" in checkpoint and not sharded:
        restored = set(model.network.restored_keys())
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in restored}
    checkpoint["affectgpt"] = {
        "format": 1,
        "style_digest": model.style.digest(),
        "plugins": plugins_of(model.hparams),
        "features": {name: key.to_json() for name, key in model.record.features.items()},
        "history": history_of(model),
        "licence": model.record.licence,
    }


def take_facts(model: Any, checkpoint: dict[str, Any]) -> None:
    """Take the history of a checkpoint of this model; announce plug-ins of another version.

    Args:
        model: An ``AffectGPT``.
        checkpoint: What was read.

    Raises:
        CheckpointError: If a setting that changes what is computed, the prompt style or the names of tensors differ.
    """
    _check_facts(model, checkpoint)
    _take_history(model, checkpoint)


def plugin_notes(checkpoint: Mapping[str, Any]) -> Any:
    """What a checkpoint notes of its plug-in parts, unread; nothing in one that is older than such notes."""
    return checkpoint.get("affectgpt", {}).get("plugins", {})


def _check_facts(model: Storable, checkpoint: dict[str, Any]) -> None:
    stored = {name: checkpoint.get(name, {}) for name in ("hyper_parameters", "affectgpt", "state_dict")}
    for name, value in stored.items():
        if not isinstance(value, Mapping):
            raise CheckpointError(f"the checkpoint is broken: its {name!r} is a {type(value).__name__}, not a mapping")
    with only_our_errors("the checkpoint"):
        compare_config(model.hparams, _with_media(stored["hyper_parameters"]), SAME_MATHS)
    announce_versions(plugin_notes(checkpoint), model.hparams, "the checkpoint")
    digest = stored["affectgpt"].get("style_digest")
    if not model.style.accepts(digest):
        raise CheckpointError(
            f"the prompt style {model.style.name!r} has changed since the checkpoint was written; use the version of "
            "affectgpt that wrote it"
        )
    if "state_dict" in checkpoint:
        check_names(model, checkpoint["state_dict"])


def _take_history(model: Any, checkpoint: Mapping[str, Any]) -> None:
    """Give a model the history that a checkpoint notes; a trainer that fits goes on with its last training."""
    try:
        resumes = model.trainer.state.fn == "fit"
    except RuntimeError:  # Lightning's way to say that there is none
        resumes = False
    facts = checkpoint.get("affectgpt", {})
    model.record.take(read_history(facts.get("history")), read_licence(facts.get("licence")), resumes=resumes)


def _with_media(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a model; fields of its media profile that did not exist when they were stored have their default."""
    return {**config, "media": MediaProfile.of(config.get("media")).to_json()}
