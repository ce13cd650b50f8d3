"""Reads the authors' ``.npz`` files, whose arrays hold pickled objects, without running code from them."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.errors import DataError
from affectgpt.metrics.zipped import open_zip

MAX_ARRAY_BYTES = 256 << 20
"""Most bytes that all arrays of a file may take; answers for a million clips take less."""

MAX_PICKLE_BYTES = 32 << 20
"""Most bytes that a pickled array may take; its objects can take 60 times as much memory."""


def read_npz(path: Path) -> Mapping[str, Any]:
    """Read the arrays of an ``.npz`` file by name; a 0-d array is replaced by its element, such as a dict.

    Sizes are checked before memory is allocated.

    Raises:
        DataError: If the file is not an ``.npz`` file, is damaged, unpacks to more than ``MAX_ARRAY_BYTES`` or
            ``MAX_PICKLE_BYTES``, or its pickles hold anything but plain data.
    """
    try:
        with open_zip(path, lambda _: MAX_ARRAY_BYTES, MAX_ARRAY_BYTES) as archive:
            return {one.filename.removesuffix(".npy"): _read_array(archive, one) for one in archive.infolist()}
    except DataError as error:
        raise DataError(f"{path}: {error}; it was not loaded") from None
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npz: {type(error).__name__}: {error}") from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        rest = member.file_size - file.tell()
        if dtype.hasobject:
            if rest > MAX_PICKLE_BYTES:
                raise DataError(
                    f"the pickled array {member.filename!r} has {rest:,} bytes, and at most {MAX_PICKLE_BYTES:,} are "
                    "read"
                )
            found = _ArraysOnly(io.BytesIO(file.read())).load()
        else:
            items = math.prod(map(int, shape))
            declared = items * dtype.itemsize
            if min(shape, default=0) < 0 or declared != rest or items > declared:
                raise DataError(
                    f"the header of {member.filename!r} declares {declared:,} bytes (shape {shape}, {dtype}), and "
                    f"{rest:,} follow"
                )
            file.seek(0)
            found = np.lib.format.read_array(file, allow_pickle=False)
    return found.item() if isinstance(found, np.ndarray) and found.ndim == 0 else found


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds arrays, scalars and plain containers; a pickle can call the functions below and no others."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # renamed in numpy 2
            module = "numpy"
        if (module, name) not in _ALLOWED:
            raise DataError(f"its pickle asks for {module}.{name}, which is not data")
        return _ALLOWED[module, name]


class _ArrayType:
    """Stands in for ``numpy.ndarray``, which a pickle names but must not call: it could take any amount of memory."""


def _empty_array(kind: object, shape: object, code: object) -> Any:
    """An array for pickle to fill; numpy itself always asks for an empty one with these arguments."""
    if kind is not _ArrayType or shape != (0,) or code not in (b"b", "b"):
        raise DataError("its pickle asks for an array that numpy did not write")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _scalar(dtype: np.dtype[Any], data: Any = None) -> Any:
    if dtype.hasobject:
        return data
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise DataError(f"its pickle holds a scalar of {dtype} without its {dtype.itemsize} bytes")
    return np.frombuffer(data, dtype=dtype)[0] if dtype.itemsize else dtype.type()


def _encode(text: str, encoding: str) -> bytes:
    """Pickle protocol 2 writes bytes like this; other encodings could double a text again and again."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise DataError(f"its pickle asks for the encoding {encoding!r}, which is not data")
    return text.encode("latin-1")


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "_reconstruct"): _empty_array,
    ("numpy", "scalar"): _scalar,
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,  # protocol 2 and below
    ("__builtin__", "frozenset"): frozenset,
}
