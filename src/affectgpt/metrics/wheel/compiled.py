"""Caches the compiled groupings of the official word tables, so that loading them again takes milliseconds."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.files import cache_folder, write_whole
from affectgpt.metrics.wheel.grouping import Grouping

log = logging.getLogger(__name__)

Compiled = tuple[tuple[str, ...], dict[str, Grouping]]

# Increase it when the rules or this format change, so that files of older versions are not used.
_VERSION = 1


def compiled_path(sources: Sequence[Path]) -> Path:
    """Path of the compiled form of these files, named by the sha256 of their names and bytes."""
    digest = hashlib.sha256(f"affectgpt wheel {_VERSION}".encode())
    for source in sources:
        content = source.read_bytes()
        digest.update(f"\n{source.name} {len(content)}\n".encode())
        digest.update(content)
    return cache_folder() / "compiled_wheels" / f"{digest.hexdigest()}.npz"


def load_compiled(path: Path) -> Compiled | None:
    """Load labels and groupings; ``None`` if there is no usable file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("text", "codes", "digest")}
        text = found["text"].tobytes()
        if hashlib.sha256(text + found["codes"].tobytes()).digest() != found["digest"].tobytes():
            raise ValueError("its checksum is wrong")
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever is wrong with a cached file, the tables can be read again
        log.warning("%s is damaged (%s); the tables are compiled again", path, error)
        return None
    record = json.loads(text)
    codes: npt.NDArray[np.int16] = found["codes"]
    groupings = {key: Grouping(tuple(groups), row) for (key, groups), row in zip(record["groups"], codes, strict=True)}
    return tuple(record["labels"]), groupings


def save_compiled(path: Path, labels: Sequence[str], groupings: Mapping[str, Grouping]) -> None:
    """Save labels and groupings; a folder that is not writable is not an error."""
    record = {"labels": list(labels), "groups": [[key, list(g.groups)] for key, g in groupings.items()]}
    text = json.dumps(record, ensure_ascii=False).encode()
    codes = np.stack([grouping.codes for grouping in groupings.values()])
    arrays: dict[str, npt.NDArray[Any]] = {
        "text": np.frombuffer(text, dtype=np.uint8),
        "codes": codes,
        "digest": np.frombuffer(hashlib.sha256(text + codes.tobytes()).digest(), dtype=np.uint8),
    }
    try:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(path, buffer.getvalue())
    except OSError as error:
        log.warning(
            "the compiled word tables cannot be saved in %s (%s); they are compiled again each time", path, error
        )
