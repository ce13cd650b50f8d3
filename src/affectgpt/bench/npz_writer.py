"""Writes labels and sentiments in the authors' ``.npz`` layout, which the MER challenges take too."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from affectgpt.errors import DataError
from affectgpt.files import write_whole


def write_openset(path: str | os.PathLike[str], labels: Mapping[str, Sequence[str]]) -> Path:
    """Write label lists in the authors' layout: ``filenames`` and ``fileitems``, with items such as "[happy, sad]".

    Args:
        path: File to write; the authors' files end in ``-openset.npz``.
        labels: Sample name to its labels, in the order of the set.

    Raises:
        DataError: If there are no samples, or a label is not a string.
    """
    for name, found in labels.items():
        if isinstance(found, str) or not all(isinstance(label, str) for label in found):
            raise DataError(f"sample {name!r} has the labels {found!r}; expected a list of strings")
    return _write(path, {name: f"[{', '.join(found)}]" for name, found in labels.items()})


def write_sentiments(path: str | os.PathLike[str], sentiments: Mapping[str, str]) -> Path:
    """Write sentiments in the same layout; the authors' files end in ``-openset-sentiment.npz``.

    Raises:
        DataError: If there are no samples.
    """
    return _write(path, sentiments)


def _write(path: str | os.PathLike[str], items: Mapping[str, str]) -> Path:
    path = Path(path)
    if not items:
        raise DataError(f"there are no samples to write to {path}")
    content = io.BytesIO()
    np.savez_compressed(content, filenames=np.array(list(items)), fileitems=np.array(list(items.values())))
    write_whole(path, content.getvalue())
    return path
