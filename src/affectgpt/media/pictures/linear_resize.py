"""Resizes a picture as OpenCV's ``INTER_LINEAR`` does, bit for bit, without OpenCV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WEIGHT_BITS = 11


def resize_linear(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize with two taps a direction and 11-bit weights, without anti-aliasing.

    Output pixel ``i`` of ``n`` lies at ``x = (i + 0.5) * N / n - 0.5`` between the input pixels ``k = floor(x)`` and
    ``k + 1``, and is their mean with the weights ``1 - (x - k)`` and ``x - k``. OpenCV computes this in integers and
    rounds at every step, so the same steps are needed for the same result:

    1. The weights ``a`` and ``b`` are ``round(2048 * weight)``: 11 bits. 2. Along a row, ``h = (p[k] * a + p[k + 1] *
    b) >> 4``: 8 + 11 - 4 = 15 bits, which fit into a signed 16-bit integer. 3. Along a column, ``v = ((h[k] * a) >> 16)
    + ((h[k + 1] * b) >> 16)``. Each product is shifted before the sum, as by the SIMD instruction that returns the
    upper half of a product (``pmulhw``); a single shift after the sum would give pixels that differ by 1. 4. ``v`` is
    four times the pixel, since 11 - 4 + 11 - 16 = 2 bits of the weights remain: ``(v + 2) >> 2`` is the rounded pixel.

    At exactly half the size OpenCV uses another method, the rounded mean of 2 x 2 pixels, ``(sum + 2) >> 2``.

    Args:
        picture: uint8 ``[H, W, C]``.
        height: Rows of the result.
        width: Columns of the result.

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
    """For each output pixel, its two neighbours and their weights.

    At the borders both neighbours are the same pixel. Along a row (``clamp``) OpenCV then gives the whole weight to one
    of them; along a column it rounds both weights as elsewhere, so that the truncations of step 3 still happen twice.
    """
    position = ((np.arange(num_out) + 0.5) * (num_in / num_out) - 0.5).astype(np.float32)
    low = np.floor(position)
    share = position - low
    if clamp:
        share[(low < 0) | (low >= num_in - 1)] = 0
    one = np.float32(1 << WEIGHT_BITS)
    weight, other = (np.rint(part * one).astype(np.int32) for part in (np.float32(1) - share, share))
    left = low.astype(np.int64)
    return left.clip(0, num_in - 1), (left + 1).clip(0, num_in - 1), weight, other
