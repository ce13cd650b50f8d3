"""Reads ready face crops from the content of an ``.npy`` file."""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import DataError

_EXPECTED = "face crops must be uint8 [time, height, width, 3]"
# errors that numpy raises for bad headers and contents
_UNREADABLE = (ValueError, OSError, EOFError, TypeError, OverflowError, MemoryError, SyntaxError, zipfile.BadZipFile)


def read_faces(content: bytes, key: str) -> NDArray[np.uint8]:
    """Read stored face crops of any size and number.

    Args:
        content: Content of the ``.npy`` file.
        key: The sample's key, for messages.

    Returns:
        uint8 ``[T, H, W, 3]``.

    Raises:
        DataError: If it is not an npy file, or its array has a wrong shape or type.
    """
    try:
        _check_claim(content)
        faces: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    except _UNREADABLE as error:
        why = "it holds Python objects, perhaps crops of different sizes" if b"'|O'" in content[:256] else str(error)
        raise DataError(
            f"clip {key!r}: its face crops cannot be read: {why}. Save one array: {_EXPECTED}, all of one size"
        ) from error
    check_faces(faces, key)
    return faces


def _check_claim(content: bytes) -> None:
    """Refuse an array whose header claims more than the file holds: numpy allocates the memory before it reads."""
    file = io.BytesIO(content)
    if content[: len(np.lib.format.MAGIC_PREFIX)] != np.lib.format.MAGIC_PREFIX:
        return
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    claimed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and claimed > len(content) - file.tell():
        raise ValueError(f"its header claims {claimed:,} bytes, but the file has {len(content) - file.tell():,}")


def check_faces(faces: NDArray[np.uint8], key: str) -> None:
    """Refuse an array that does not hold face crops.

    Raises:
        DataError: If its shape or type is wrong; the message says what it seems to be.
    """
    if isinstance(faces, np.ndarray) and faces.ndim == 4 and faces.shape[-1] == 3 and faces.dtype == np.uint8:
        if faces.size:
            return
        raise DataError(f"clip {key!r}: there are no face crops, the array is {faces.shape}; leave the faces out")
    found = f"{getattr(faces, 'dtype', type(faces).__name__)} {getattr(faces, 'shape', '')}"
    raise DataError(f"clip {key!r}: {_EXPECTED}, but they are {found}{_hint(faces)}")


def _hint(faces: NDArray[np.uint8]) -> str:
    shape: tuple[int, ...] = tuple(getattr(faces, "shape", ()))
    if len(shape) == 4 and shape[-1] == 3:
        return "; give whole numbers from 0 to 255 as uint8"
    if len(shape) == 4 and shape[1] == 3:
        return "; its channels come first: transpose(0, 2, 3, 1)"
    if len(shape) == 3 and shape[-1] == 3:
        return "; one crop needs a time axis: array[None]"
    return ""
