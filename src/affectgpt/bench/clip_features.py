"""Keeps the features of clips, so that the encoders run once per clip, however often it is asked about."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.files import digest_of, write_whole

if TYPE_CHECKING:
    from affectgpt.types import Batch, Clip, Features

log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_KEYS = "keys"


class ClipFeatures:
    """Feature vectors by clip, in one file per batch; none stay in memory.

    The vectors keep the encoder's dtype, so that a model gives the same answers from them as from the clip.

    Args:
        folder: The folder to keep them in; the files are in a sub-folder named after the identity.
        identity: Everything that decides the vectors, as plain JSON: the weights, and how clips are decoded.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder) / digest_of(dict(identity))[:16]
        self._rows: dict[str, tuple[Path, int]] = {}
        self._number = 0
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            self._number = max(self._number, int(path.stem) + 1 if path.stem.isdigit() else 0)
            self._take(path)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def add(self, batch: Batch, features: Mapping[str, Features]) -> None:
        """Keep the features of a batch, and wait until they are on the disk.

        Args:
            batch: The clips.
            features: Stream name to the output of its encoder for the batch; a stream that a clip lacks is left out of
                that clip.
        """
        from safetensors.torch import save

        tensors = {}
        for name, found in features.items():
            for row in range(len(batch)):
                steps = found.hidden[row][found.keep[row]]
                if len(steps):
                    tensors[f"{row}/{name}"] = steps.detach().cpu().contiguous()
        path = self.folder / f"{self._number:06d}{_SUFFIX}"
        self._number += 1
        write_whole(path, save(tensors, {_KEYS: json.dumps(list(batch.keys))}))
        self._rows |= {key: (path, row) for row, key in enumerate(batch.keys)}

    def clip(self, key: str, subtitle: str | None) -> Clip:
        """A kept clip, with its vectors instead of media.

        Args:
            key: Its name.
            subtitle: Spoken words, or ``None``.

        Raises:
            KeyError: If the clip was not kept.
        """
        from safetensors import safe_open

        from affectgpt.types import Clip

        path, row = self._rows[key]
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(f"{row}/")]  # noqa: SIM118, it is not a mapping
            features = {name.partition("/")[2]: file.get_tensor(name) for name in names}
        return Clip(key, subtitle=subtitle, features=features)

    def _take(self, path: Path) -> None:
        """Add a file of an earlier run; an unreadable file is skipped, and its clips are encoded again."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                keys = json.loads((file.metadata() or {})[_KEYS])
            self._rows |= {str(key): (path, row) for row, key in enumerate(keys)}
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); its clips are encoded again", path, error)
