"""Stores a model as a folder to share, locally or on the Hugging Face hub, and reads it back."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

import affectgpt
from affectgpt.checkpoints import self_test
from affectgpt.checkpoints.card import model_card
from affectgpt.checkpoints.gate import pass_gate
from affectgpt.checkpoints.history import Origin, history_of, parts_anew, read_history, read_licence
from affectgpt.checkpoints.io import ADDED_LATER, SAME_MATHS
from affectgpt.checkpoints.plugins import announce_versions, check_installed, plugins_of
from affectgpt.checkpoints.replaced import LOCATION, kept_tensors
from affectgpt.checkpoints.storable import Storable, check_names, fill, only_our_errors
from affectgpt.encoders.streams import StreamSpec, read_streams
from affectgpt.errors import CheckpointError, ConfigError, DataError, reason_of
from affectgpt.files import draft, read_json, write_whole
from affectgpt.registry import Spec

M = TypeVar("M", bound=Storable)

FORMAT = 1
CONFIG, WEIGHTS, SELF_TEST, CARD = "config.json", "model.safetensors", "self_test.json", "README.md"
MAX_JSON_BYTES = 2**24
"""The largest ``config.json`` or ``self_test.json`` that is read; those of real models have some kilobytes."""
MAY_DIFFER = LOCATION
"""Settings that may differ where a model is loaded; the self-test detects whether they matter."""


@dataclass(frozen=True)
class Stored:
    """A stored model, read but not built.

    Attributes:
        folder: The folder, or the one that it was fetched to.
        config: The model's arguments.
        style_digest: Hash of the prompt style that it was trained with.
        tensors: Name to tensor.
        self_test: The recorded self-test, see ``affectgpt.checkpoints.self_test``.
        plugins: Where its plug-in parts come from, unread: see ``affectgpt.checkpoints.plugins``.
        history: Its trainings, see ``affectgpt.checkpoints.history``.
        licence: Of the weights, if it was named.
        source: The folder or the hub id that was asked for.
    """

    folder: Path
    config: dict[str, Any]
    style_digest: str
    tensors: Mapping[str, Tensor]
    self_test: Mapping[str, Any]
    plugins: Any = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    licence: str | None = None
    source: str | Path = ""


def save(model: Any, folder: Path, paths: Mapping[str, str], licence: str | None = None) -> None:
    """Write a model into a folder to share: configuration, weights as safetensors, a self-test, and a model card.

    Args:
        model: An ``AffectGPT``.
        folder: The folder, created if it is missing; files of the same names in it are replaced.
        paths: Where others will find the frozen weights, which are not stored: stream name or ``llm`` to a hub id,
            which replaces the path that was used here.
        licence: Licence of the weights, for the card; by default the one that they were read with, if any.

    Raises:
        ConfigError: If a name in ``paths`` is neither a stream nor ``llm``.
    """
    from safetensors.torch import save_file

    config = with_paths(dict(model.hparams), paths)
    licence = licence or model.record.licence
    restored = set(model.network.restored_keys())
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items() if k not in restored}
    record = {
        "format": FORMAT,
        "affectgpt": affectgpt.__version__,
        "style_digest": model.style.digest(),
        "plugins": plugins_of(config),
        "history": history_of(model),
        "licence": licence,
        "model": config,
    }
    test = {**self_test.record(model), "settings": _settings_digest(config)}
    folder.mkdir(parents=True, exist_ok=True)
    with draft(folder / WEIGHTS) as file:
        save_file(_unshared(tensors), file, metadata={"format": "pt"})
    write_whole(folder / CONFIG, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / SELF_TEST, json.dumps(test, indent=1) + "\n")
    write_whole(folder / CARD, model_card(model, config, tensors, licence))


def read(source: str | Path, revision: str | None, paths: Mapping[str, str], *, allow_import: bool = False) -> Stored:
    """Read a stored model; see ``AffectGPT.from_pretrained``.

    Raises:
        CheckpointError: If a file is missing, cannot be read, has another format, or is refused by ``pass_gate``.
        ConfigError: If a name in ``paths`` is not a part that reads weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(source) if Path(source).is_dir() else _fetch(str(source), revision)
    record = _read_json(folder / CONFIG)
    if not isinstance(record.get("model"), dict) or not isinstance(record.get("style_digest"), str):
        raise CheckpointError(f"{folder / CONFIG} was not written by affectgpt's save_pretrained: it has no 'model'")
    if record.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {record.get('format')!r}, but this version of affectgpt reads {FORMAT}; it was "
            f"written by version {record.get('affectgpt')!r}"
        )
    config = pass_gate(record["model"], folder / CONFIG, allow_import=allow_import)
    test = self_test.check_record(_read_json(folder / SELF_TEST), folder / SELF_TEST)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {folder / WEIGHTS}: {error}; fetch or write the folder again") from error
    plugins = record.get("plugins", {})
    history = read_history(record.get("history"))
    licence = read_licence(record.get("licence"))
    config = with_paths(config, paths)
    return Stored(folder, config, record["style_digest"], tensors, test, plugins, history, licence, source)


def load(cls: type[M], stored: Stored, *, allow_import: bool, run_self_test: bool) -> M:
    """Build a stored model; see ``AffectGPT.from_pretrained``.

    Raises:
        CheckpointError: If it does not fit, or the self-test gives other outputs.
    """
    with only_our_errors(stored.folder):
        check_installed(stored.plugins, stored.config, stored.folder)
        model = cls.from_config({**stored.config, "allow_import": allow_import})
        take(model, stored, run_self_test=run_self_test)
    return model


def take(model: Any, stored: Stored, *, run_self_test: bool) -> None:
    """Load a stored model's weights.

    Args:
        model: An ``AffectGPT`` of the same configuration.
        stored: The stored model.
        run_self_test: Whether to run the stored inputs and compare.

    Raises:
        CheckpointError: If the prompt style or the tensors do not fit, or the self-test gives other outputs.
    """
    check_style(stored, model.style)
    announce_versions(stored.plugins, model.hparams, stored.folder)
    check_names(model, stored.tensors)
    fill(model, stored.tensors, stored.folder)
    model.record.take(stored.history, stored.licence)
    model.record.origin = Origin.of(stored.source, [stored.folder / WEIGHTS], stored.licence)
    if run_self_test:
        check_self_test(model, stored)


def start_from(model: Any, source: str | Path) -> None:
    """Start from the weights of a stored model, to train them further; see ``AffectGPT.start_from``.

    Raises:
        CheckpointError: If it cannot be read, computes something else than this model, or has other tensors.
    """
    stored = read(source, None, {}, allow_import=True)  # its arguments are only compared; nothing is built from them
    kept = kept_tensors(model, stored.config, stored.tensors)
    # a model of other parts gives other outputs, and merged adapters others within rounding
    same = kept.keys() == stored.tensors.keys() and all(kept[name] is one for name, one in stored.tensors.items())
    take(model, replace(stored, tensors=kept), run_self_test=same)
    model.record.origin = replace(model.record.origin, anew=tuple(parts_anew(kept, stored.tensors)))


def check_style(stored: Stored, style: Any) -> None:
    """Compare the prompt style with that of training.

    Raises:
        CheckpointError: If it has changed.
    """
    if not style.accepts(stored.style_digest):
        raise CheckpointError(
            f"{stored.folder}: the prompt style {style.name!r} has changed since the model was stored; use the version "
            "of affectgpt that stored it"
        )


def check_self_test(model: Any, stored: Stored) -> None:
    """Run the recorded inputs and compare.

    The settings are compared too, because those that act before the tensors, such as the choice of frames, do not
    change the outputs here.

    Raises:
        CheckpointError: If the outputs differ by more than the numerical noise of devices and precisions, or a setting
            that changes what the model computes differs.
    """
    problem = self_test.compare(stored.self_test, self_test.record(model))
    if problem is None and stored.self_test.get("settings") != _settings_digest(stored.config):
        problem = f"the settings in {CONFIG} are not the stored ones"
    if problem:
        raise CheckpointError(
            f"{stored.folder}: the self-test failed: {problem}. The model would not answer like the stored one: check "
            f"that {CONFIG} is unchanged, and that the frozen networks (paths) are those that it was trained with; "
            "self_test=False loads it anyway"
        )


def push(model: Any, repo_id: str, private: bool, paths: Mapping[str, str], licence: str | None = None) -> str:
    """Store a model on the Hugging Face hub.

    Args:
        model: An ``AffectGPT``.
        repo_id: ``owner/name``; created if it is missing.
        private: Whether a new repository is private.
        paths: See ``save``.
        licence: See ``save``.

    Returns:
        The URL of the commit.

    Raises:
        ConfigError: If the configuration names a local folder, or a name in ``paths`` is no part that reads weights.
        CheckpointError: If the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    config = with_paths(dict(model.hparams), paths)
    local = [f"{part}: {spec.args['path']}" for part, spec in part_specs(config).items() if _is_local(spec)]
    if local:
        raise ConfigError(
            f"the model reads frozen weights from folders that others do not have ({'; '.join(local)}); give paths=, "
            "the hub ids of the same weights"
        )
    api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder), paths, licence)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Store an AffectGPT model")
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise CheckpointError(f"cannot store the model as {repo_id!r}: {reason_of(error)}") from error
    return str(commit)


def with_paths(config: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """A model's arguments with other locations of its frozen weights.

    Args:
        config: The arguments.
        paths: Stream name or ``llm`` to a folder or hub id.

    Raises:
        ConfigError: If the part does not exist, or reads no weights.
    """
    changed = copy.deepcopy(dict(config))
    parts = part_specs(changed) if paths else {}
    for name, path in paths.items():
        if name not in parts or "path" not in parts[name].args:
            able = [part for part, spec in parts.items() if "path" in spec.args]
            raise ConfigError(f"paths: no part {name!r} reads weights from a path; those that do: {', '.join(able)}")
        spec = Spec(parts[name].name, {**parts[name].args, "path": str(path)}).to_json()
        if name == "llm":
            changed["llm"] = spec
        else:
            changed["streams"][name] = {**StreamSpec.of(changed["streams"][name]).to_json(), "encoder": spec}
    return changed


def part_specs(config: Mapping[str, Any]) -> dict[str, Spec]:
    """The encoders by the names of their streams, and the language model."""
    encoders = {name: Spec.of(stream.encoder) for name, stream in read_streams(config.get("streams", {})).items()}
    return {**encoders, "llm": Spec.of(config.get("llm", ""))}


def _settings_digest(config: Mapping[str, Any]) -> str:
    """Hash of the settings that change what a model computes, without those that say where and how parts are read."""

    def kept(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: kept(inner) for name, inner in value.items() if name not in MAY_DIFFER}

    # a setting that was added later counts only if it differs from its earlier value, because older self-tests do not
    # include it
    named = [
        name
        for name in SAME_MATHS
        if name not in ADDED_LATER or config.get(name, ADDED_LATER[name]) != ADDED_LATER[name]
    ]
    settings = kept({name: config.get(name) for name in named})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _is_local(spec: Spec) -> bool:
    path = spec.args.get("path")
    return path is not None and (Path(path).exists() or Path(path).is_absolute())


def _fetch(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(repo_id, revision=revision, allow_patterns=[CONFIG, WEIGHTS, SELF_TEST])
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"no stored model at {repo_id!r}: it is not a folder here, and the hub did not return it "
            f"({reason_of(error)})"
        ) from error
    return Path(found)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path, most_bytes=MAX_JSON_BYTES)
    except DataError as error:
        raise CheckpointError(f"{error}; a stored model has {CONFIG}, {WEIGHTS} and {SELF_TEST}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that share memory with an earlier one, which safetensors refuses."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return result
