"""Read the authors' ``.npz`` files, whose arrays hold pickled objects, without running code from them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from affectgpt.errors import DataError

# What numpy needs to rebuild arrays and scalars; the module was renamed in numpy 2.
_ALLOWED = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(f"its pickled part asks for {module}.{name}, which is not data")
        return super().find_class(module, name)


def read_npz(path: Path) -> Mapping[str, Any]:
    """Arrays of an ``.npz`` file by name; 0-d arrays become what they hold, such as a dict.

    Raises:
        DataError: If the file is no ``.npz``, is damaged, or its pickled parts hold anything but plain data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): _read_array(io.BytesIO(archive.read(name))) for name in archive.namelist()
            }
    except DataError as error:
        raise DataError(f"{path}: {error}; it was not loaded") from None
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npz: {type(error).__name__}: {error}") from error


def _read_array(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read_header(file)
    if dtype.hasobject:
        found = _ArraysOnly(file).load()
    else:
        file.seek(0)
        found = np.lib.format.read_array(file, allow_pickle=False)
    return found.item() if isinstance(found, np.ndarray) and found.ndim == 0 else found
