"""Finds the files of a recogniser: a folder, an earlier download, or the hub if it can be reached."""

from __future__ import annotations

from pathlib import Path

from affectgpt.errors import ConfigError

_TIMEOUT_SECONDS = 3.0


def local_model(model: str, recogniser: str, revision: str | None = None) -> str:
    """Name to load a model by: the given one if the hub can be reached, else the folder of an earlier download.

    Without this check, the download libraries retry for minutes if the hub does not answer.

    Args:
        model: A folder, or a model of the hub.
        recogniser: The recogniser that loads it, for the message.
        revision: Version of a model of the hub.

    Raises:
        ConfigError: If the hub cannot be reached, and the model was not downloaded before.
    """
    if Path(model).exists() or _is_reachable():
        return model
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(model, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ConfigError(
            f"speech recogniser {recogniser!r}: the hub ({constants.ENDPOINT}) cannot be reached, and {model!r} was "
            "not downloaded before; give a folder with the model, or download it where there is a network"
        ) from error


def _is_reachable() -> bool:
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_TIMEOUT_SECONDS)
    except Exception:  # the HTTP library depends on the version of huggingface-hub
        return False
    return True
