"""Runs a small TensorFlow Lite network that the user, or an installed package, supplies."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import CheckpointError, ConfigError, reason_of
from affectgpt.files import digest_of_file

MAX_MODEL_BYTES = 64 * 2**20
AUTO = "auto"


class LiteModel:
    """A network with one picture as input.

    Args:
        path: The ``.tflite`` file.
        input_shape: Shape of the input that is expected, ``[1, H, W, C]``.

    Raises:
        CheckpointError: If the file is missing, is no such network, or takes another input.
        ConfigError: If ``ai-edge-litert`` is not installed.
    """

    def __init__(self, path: Path, input_shape: tuple[int, ...]) -> None:
        self.path = path
        if not path.is_file() or path.stat().st_size > MAX_MODEL_BYTES:
            raise CheckpointError(f"{str(path)!r} is no file of a small network (.tflite); check the path")
        self.digest = digest_of_file(path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ConfigError(
                f"{str(path)!r} is run by ai-edge-litert ({error}); run pip install 'affectgpt[annotate]'"
            ) from error
        try:
            self._network: Any = Interpreter(str(path), num_threads=1)
            self._network.allocate_tensors()
            (told,) = self._network.get_input_details()
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{str(path)!r} cannot be read as a TensorFlow Lite network: {reason_of(error)}"
            ) from error
        if tuple(told["shape"]) != input_shape:
            raise CheckpointError(f"{str(path)!r} takes {tuple(told['shape'])}, but {input_shape} is expected")
        self._input, self._outputs = told["index"], [one["index"] for one in self._network.get_output_details()]

    def __call__(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outputs for one picture, float32, in the network's order.

        Args:
            picture: float32 ``[H, W, C]``.
        """
        self._network.set_tensor(self._input, picture[None].astype(np.float32))
        self._network.invoke()
        return [np.asarray(self._network.get_tensor(index), np.float32) for index in self._outputs]


def find_weights(value: str | None, package: str, inside: str) -> Path | None:
    """The file that an argument names: a path, or ``auto`` for what an installed package carries.

    Args:
        value: A path, ``auto`` or ``None``.
        package: The package, which is looked up and not imported.
        inside: The file's path in it.

    Returns:
        The file; ``None`` for ``None``, and for ``auto`` where the package is not installed.
    """
    if value is None:
        return None
    if value != AUTO:
        return Path(value)
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / inside
    return path if path.is_file() else None
