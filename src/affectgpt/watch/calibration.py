"""Turns how sure a model seems into how often it is right, measured on clips with labels.

An answer is right if its labels overlap with the true ones by an F1 of one half or more. A logistic regression on the
logit of the likelihood and on the agreement (Platt 1999, with a small ridge) gives the probability of that. The
expected calibration error (Naeini et al. 2015) is the mean difference, over bins of equally many answers, between the
mean confidence and the share of right answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import read_json, write_whole
from affectgpt.watch.sureness import Sureness

RIGHT = 0.5
"""An answer with at least this overlap with the true labels is right."""
LEAST_CLIPS = 20
_RIDGE = 0.1


@dataclass(frozen=True)
class Calibration:
    """From sureness to the probability of being right.

    Attributes:
        weights: Of the logit of the likelihood, of the agreement, and the constant.
        uses_agreement: Whether answers were drawn, so that there is an agreement.
        num_clips: Clips with labels that it was fitted on.
        share_right: Share of right answers among them.
        error_before: Expected calibration error of the raw sureness on them.
        error_after: That of this calibration on clips that it was not fitted on (five folds).
        model: What was calibrated.
    """

    weights: tuple[float, float, float]
    uses_agreement: bool
    num_clips: int
    share_right: float
    error_before: float
    error_after: float
    model: str = ""

    def __call__(self, sureness: Sureness) -> float:
        """The probability that an answer is right.

        Raises:
            ConfigError: If it was fitted with agreement and there is none, or the other way.
        """
        if (sureness.agreement is not None) != self.uses_agreement:
            has = "with" if self.uses_agreement else "without"
            raise ConfigError(f"this calibration was fitted {has} drawn answers; ask the same way, or calibrate again")
        return float(_probability(_inputs([sureness]), np.array(self.weights))[0])

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_whole(path, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """Read what ``save`` wrote.

        Raises:
            DataError: If the file holds something else.
        """
        saved: Any = read_json(path, most_bytes=1 << 20)
        try:
            weights = tuple(float(value) for value in saved["weights"])
            if len(weights) != 3 or not np.isfinite(weights).all():
                raise ValueError(f"weights are {weights}")
            names = ("share_right", "error_before", "error_after")
            shares = {name: float(saved[name]) for name in names}
            return cls(
                (weights[0], weights[1], weights[2]),
                bool(saved["uses_agreement"]),
                int(saved["num_clips"]),
                model=str(saved["model"]),
                **shares,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{str(path)!r} is no calibration ({error}); affectgpt watch --calibrate writes one"
            ) from error


def calibrate(found: Sequence[Sureness], overlaps: Sequence[float], model: str = "") -> Calibration:
    """Fit a calibration.

    Args:
        found: How sure the model was of each answer.
        overlaps: Overlap of each answer's labels with the true ones, see ``sureness.overlap``.
        model: What is calibrated, for the record.

    Raises:
        DataError: If there are fewer than ``LEAST_CLIPS`` clips, or all answers are right, or all wrong.
    """
    right = np.array([value >= RIGHT for value in overlaps])
    if len(right) < LEAST_CLIPS:
        raise DataError(f"{len(right)} clips with labels are too few to calibrate on; give {LEAST_CLIPS} or more")
    if right.all() or not right.any():
        which = "right" if right.all() else "wrong"
        raise DataError(
            f"all {len(right)} answers are {which}, so there is nothing to learn when they are; give other clips"
        )
    inputs = _inputs(found)
    held_out = np.empty(len(right))
    folds = np.random.default_rng(0).permutation(len(right)) % 5
    for fold in range(5):
        others = folds != fold
        weights = _fit(inputs[others], right[others])
        held_out[~others] = _probability(inputs[~others], weights)
    weights = _fit(inputs, right)
    return Calibration(
        (float(weights[0]), float(weights[1]), float(weights[2])),
        found[0].agreement is not None,
        len(right),
        float(right.mean()),
        calibration_error([one.raw for one in found], right),
        calibration_error(held_out, right),
        model,
    )


def calibration_error(
    confidence: Sequence[float] | NDArray[Any], right: Sequence[bool] | NDArray[Any], bins: int = 10
) -> float:
    """Expected calibration error, over bins of equally many answers.

    Examples:
        >>> round(calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, True, False], bins=1), 3)
        0.15
    """
    return float(sum(share * abs(mean - rate) for mean, rate, share in reliability(confidence, right, bins)))


def reliability(
    confidence: Sequence[float] | NDArray[Any], right: Sequence[bool] | NDArray[Any], bins: int = 10
) -> list[tuple[float, float, float]]:
    """For each bin: the mean confidence, the share of right answers, and the bin's share of all answers."""
    values, truth = np.asarray(confidence, float), np.asarray(right, float)
    groups = [group for group in np.array_split(np.argsort(values, kind="stable"), bins) if len(group)]
    return [(float(values[g].mean()), float(truth[g].mean()), len(g) / len(values)) for g in groups]


def _inputs(found: Sequence[Sureness]) -> NDArray[np.float64]:
    likelihood = np.clip([one.likelihood for one in found], 1e-6, 1 - 1e-6)
    agreement = [one.agreement or 0.0 for one in found]
    return np.stack([np.log(likelihood / (1 - likelihood)), agreement, np.ones(len(found))], 1)


def _probability(inputs: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
    return found


def _fit(inputs: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Newton's method for logistic regression with a ridge on everything but the constant."""
    weights, ridge = np.zeros(inputs.shape[1]), np.diag([_RIDGE, _RIDGE, 1e-6])
    for _ in range(50):
        probability = _probability(inputs, weights)
        gradient = inputs.T @ (probability - right) + ridge @ weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights
