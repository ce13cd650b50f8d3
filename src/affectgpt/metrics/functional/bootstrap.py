"""Bootstrap confidence intervals of scores, and of the difference between two systems.

A figure is a function ``f`` of sums over samples. With x_i the row of sample i, a resample draws N samples with
replacement, so that sample i occurs n_i times, with (n_1, ..., n_N) multinomial, and its figure is ``f(sum_i n_i
x_i)``. Only the n_i are drawn: one matrix product gives the sums of a whole block of resamples, and no sample is scored
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affectgpt.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
Figure = Callable[[Floats], Floats]

RESAMPLES = 10_000
"""Default number of resamples."""

_BLOCK = 1 << 20
# One binomial draw costs about as much as this many uniform draws.
_BINOMIAL_COST = 6


@dataclass(frozen=True, eq=False)
class Summands:
    """The row that each sample adds to the sums of a figure, and the function from the sums to the figure.

    Attributes:
        rows: float64 ``[N, K]``, one row per sample.
        figure: Maps sums of rows, float64 ``[..., K]``, to the figure, float64 ``[...]``; NaN where it is undefined.
    """

    rows: Floats
    figure: Figure


@dataclass(frozen=True)
class Interval:
    """A figure and its confidence interval.

    Attributes:
        value: The figure of the original samples.
        low: Lower end.
        high: Upper end.
        confidence: Share of resamples between the ends, such as 0.95.
        resamples: Number of resamples.
        undefined: Resamples in which the figure is NaN (0/0 in mode ``official``); they are left out.
    """

    value: float
    low: float
    high: float
    confidence: float
    resamples: int
    undefined: int


@dataclass(frozen=True)
class PairedDifference:
    """Comparison of two systems on the same samples.

    Attributes:
        first: The first system's figure.
        second: The second system's figure.
        difference: First minus second, with the interval of the difference.
        first_better: Share of resamples in which the first system is higher; a tie counts as half.
    """

    first: Interval
    second: Interval
    difference: Interval
    first_better: float


def bootstrap_interval(
    summands: Summands, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of a figure (Efron & Tibshirani 1993, section 13.3).

    Samples are drawn with replacement, and the figure is computed from the sums over each resample as from those over
    the whole set: a corpus F1 stays a corpus F1. With confidence c, the ends are the (1 - c)/2 and (1 + c)/2 quantiles
    of the figure over the resamples.

    Args:
        summands: From ``wheel_f1_summands``, ``hit_rate_summands`` or ``weighted_f1_summands``.
        resamples: Number of resamples to draw.
        confidence: Share of resamples between the ends.
        seed: The same seed gives the same interval.

    Raises:
        ConfigError: If ``resamples`` is not positive or ``confidence`` is not between 0 and 1.
        DataError: If there are no samples.

    Examples:
        >>> from affectgpt.metrics import EmotionWheel
        >>> from affectgpt.metrics.functional import hit_rate_summands
        >>> wheel = EmotionWheel.builtin()
        >>> found = bootstrap_interval(hit_rate_summands([["glad"], ["angry"]] * 50, ["joy"] * 100, wheel))
        >>> found.value, 0.35 < found.low < 0.45, 0.55 < found.high < 0.65
        (0.5, True, True)
    """
    sums = _resampled_sums(summands.rows, resamples, confidence, seed)
    return _interval(float(summands.figure(summands.rows.sum(0))), summands.figure(sums), confidence)


def bootstrap_difference(
    first: Summands, second: Summands, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0
) -> PairedDifference:
    """Compare two systems that answered the same samples: both are scored on the same resamples.

    Args:
        first: One system's summands.
        second: The other system's, with the samples in the same order.
        resamples: Number of resamples to draw.
        confidence: Share of resamples between the ends.
        seed: The same seed gives the same intervals.

    Raises:
        ConfigError: If ``resamples`` is not positive or ``confidence`` is not between 0 and 1.
        DataError: If there are no samples, or their numbers differ.
    """
    if len(first.rows) != len(second.rows):
        raise DataError(
            f"{len(first.rows)} samples of one system, but {len(second.rows)} of the other; a paired comparison needs "
            "the same samples in the same order"
        )
    width = first.rows.shape[1]
    sums = _resampled_sums(np.hstack([first.rows, second.rows]), resamples, confidence, seed)
    values = [float(one.figure(one.rows.sum(0))) for one in (first, second)]
    draws = [first.figure(sums[:, :width]), second.figure(sums[:, width:])]
    gain = draws[0] - draws[1]
    defined = gain[~np.isnan(gain)]
    return PairedDifference(
        first=_interval(values[0], draws[0], confidence),
        second=_interval(values[1], draws[1], confidence),
        difference=_interval(values[0] - values[1], gain, confidence),
        first_better=float(((np.sign(defined) + 1) / 2).mean()) if len(defined) else float("nan"),
    )


def _interval(value: float, draws: Floats, confidence: float) -> Interval:
    defined = draws[~np.isnan(draws)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), confidence, len(draws), len(draws) - len(defined))


def _resampled_sums(rows: Floats, resamples: int, confidence: float, seed: int) -> Floats:
    """Column sums of each resample, float64 ``[resamples, K]``."""
    if resamples < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"resamples is {resamples} and confidence {confidence}; expected at least 1, and a share between 0 and 1"
        )
    if not len(rows):
        raise DataError("there are no samples to resample; score at least one")
    # Samples with equal rows are interchangeable: only the number of times that each distinct row occurs matters.
    distinct, kinds = np.unique(rows, axis=0, return_inverse=True)
    blocks = _drawn_counts(kinds.reshape(-1), len(distinct), resamples, np.random.default_rng(seed))
    return np.concatenate([counts.astype(np.float64) @ distinct for counts in blocks])


def _drawn_counts(
    kinds: npt.NDArray[np.int64], num_kinds: int, resamples: int, draw: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """How often each distinct row is drawn, in blocks of int64 ``[resamples, num_kinds]``.

    A multinomial draw over the kinds costs num_kinds binomials per resample, a draw of single samples N uniforms; the
    cheaper one is used.
    """
    num_samples = len(kinds)
    if num_kinds * _BINOMIAL_COST < num_samples:
        block = max(1, _BLOCK // num_kinds)
        shares = np.bincount(kinds, minlength=num_kinds) / num_samples
        for start in range(0, resamples, block):
            yield draw.multinomial(num_samples, shares, size=min(block, resamples - start))
        return
    block = max(1, _BLOCK // num_samples)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        cells = kinds[draw.integers(0, num_samples, (size, num_samples))]
        cells += np.arange(size)[:, None] * num_kinds
        yield np.bincount(cells.ravel(), minlength=size * num_kinds).reshape(size, num_kinds)
