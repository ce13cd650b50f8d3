"""Resizes a picture as OpenCV's ``INTER_LINEAR`` does, bit for bit, without OpenCV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WEIGHT_BITS = 11


def resize_linear(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize with two taps a direction and 11-bit weights, without anti-aliasing.

    OpenCV works on whole numbers: columns first, 4 bits dropped, then rows, 16 bits dropped from each of the two
    products before they are added, and the last 2 bits rounded. At exactly half the size it takes the mean of 2 x 2.

    Args:
        picture: uint8 ``[H, W, C]``.
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        uint8 ``[height, width, C]``.
    """
    rows_in, columns_in, channels = picture.shape
    if (rows_in, columns_in) == (height, width):
        return picture
    if (rows_in, columns_in) == (2 * height, 2 * width):
        sums = picture.reshape(height, 2, width, 2, channels).sum((1, 3), dtype=np.int32)
        return np.asarray((sums + 2) >> 2, dtype=np.uint8)
    first, second, weight, other = _taps(columns_in, width, clamp=True)
    wide = picture.astype(np.int32)
    lines = wide.take(first, 1) * weight[:, None]
    lines += wide.take(second, 1) * other[:, None]
    lines >>= 4
    lines = lines.reshape(rows_in, width * channels)
    first, second, weight, other = _taps(rows_in, height, clamp=False)
    total = lines.take(first, 0) * weight[:, None]
    total >>= 16
    below = lines.take(second, 0) * other[:, None]
    below >>= 16
    total += below
    total += 2
    total >>= 2
    return total.astype(np.uint8).reshape(height, width, channels)


def _taps(
    num_in: int, num_out: int, *, clamp: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """For each place of the result, its two neighbours and their weights.

    At the borders both neighbours are the same; there OpenCV gives the whole weight to one of them in the direction of
    the columns (``clamp``), and rounds both shares in that of the rows.
    """
    position = ((np.arange(num_out) + 0.5) * (num_in / num_out) - 0.5).astype(np.float32)
    low = np.floor(position)
    share = position - low
    if clamp:
        share[(low < 0) | (low >= num_in - 1)] = 0
    one = np.float32(1 << WEIGHT_BITS)
    weight, other = (np.rint(part * one).astype(np.int32) for part in (np.float32(1) - share, share))
    place = low.astype(np.int64)
    return place.clip(0, num_in - 1), (place + 1).clip(0, num_in - 1), weight, other
