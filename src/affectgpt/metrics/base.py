"""Base classes of the metrics: plotting, and for emotion labels the vocabulary, the mode and the summed counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric
from torchmetrics.metric import CompositionalMetric

from affectgpt.metrics.functional.counts import LABELS, MAX_SIZE, TALLIES, Counts
from affectgpt.metrics.functional.sentiment import ANSWERS
from affectgpt.metrics.labels import check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, check_wheel

Scores = Mapping[str, Tensor]


class _Monitored:
    """Takes one figure out of a result; a class rather than a lambda, so that it can be pickled."""

    def __init__(self, name: str) -> None:
        self.name = self.__name__ = name  # torchmetrics displays __name__

    def __call__(self, scores: Scores) -> Tensor:
        """The figure; if it is NaN, the mean over the wheels that have one, where F1 is 0 if nothing is right."""
        value = scores[self.name]
        wheels = [key.rpartition("_wheel")[2] for key in scores if key.startswith(f"{self.name}_wheel")]
        if not wheels or not value.isnan():
            return value

        def by_wheel(name: str) -> Tensor:
            return torch.stack([scores[f"{name}_wheel{wheel}"] for wheel in wheels])

        values = by_wheel(self.name)
        if self.name == "f1":
            values = torch.where(by_wheel("precision") + by_wheel("recall") == 0, 0.0, values)
        return values.nanmean()


class _Figure(CompositionalMetric):
    higher_is_better = True


class ScoreMetric(Metric):
    """A metric whose result is a dict of fractions and counts.

    Attributes:
        plotted: The fractions of the result that ``plot`` shows.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plotted: ClassVar[tuple[str, ...]]

    def __getitem__(self, name: str) -> CompositionalMetric:  # type: ignore[override]
        """One figure of the score as a metric that a run can monitor; it shares the counts of this metric.

        It differs from ``compute()[name]`` if that is NaN although samples count in some wheels, see ``zero_division``.
        """
        return _Figure(_Monitored(name), self, None)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        """Move the states to a device; they keep their dtype under ``set_dtype``, ``half`` and ``to``.

        The states are counts, which float16 no longer holds exactly from 2,049 on, and bfloat16 from 257 on.
        """

        def move(tensor: Tensor) -> Tensor:
            probe = fn(tensor.new_zeros(()))
            return fn(tensor) if probe.dtype == tensor.dtype else tensor.to(probe.device)

        return super()._apply(move, exclude_state)

    def plot(self, val: Scores | Sequence[Scores] | None = None, ax: Any = None) -> Any:
        """Plot the main figures of one result, or of several in order.

        Args:
            val: A result of ``compute`` or ``forward``, or a list of them; by default the result of ``compute``.
            ax: The matplotlib axes to draw into; new ones by default.

        Returns:
            The figure (``None`` if ``ax`` was given) and the axes.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        chosen = self.compute() if val is None else val
        if isinstance(chosen, Mapping):
            return self._plot({name: chosen[name] for name in self.plotted}, ax)
        return self._plot([{name: one[name] for name in self.plotted} for one in chosen], ax)


class SentimentMetric(ScoreMetric):
    """Sums samples by true sign and answer over batches and ranks.

    Args:
        mode: ``official`` or ``strict``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the mode is unknown.
    """

    def __init__(self, mode: str = "official", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = check_mode(mode)
        self._state = f"answers_{mode}"
        self.add_state(self._state, torch.zeros((3, len(ANSWERS)), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def counts(self) -> Tensor:
        """The counts so far, int64 ``[3, 4]``."""
        total: Tensor = getattr(self, self._state)
        return total

    def _add(self, counts: Tensor) -> None:
        setattr(self, self._state, self.counts + counts.to(self.counts.device))


class OverlapMetric(ScoreMetric):
    """Sums overlap counts over batches and ranks.

    The states are int64 tensors that are summed over ranks, so the result does not depend on which rank saw which
    sample. Their names contain wheel, level and mode: loading refuses a state of another setting, and
    ``MetricCollection`` does not merge two settings because their first batches happened to agree.

    Args:
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` or ``strict``.
        zero_division: The F1 if precision and recall are both 0; see ``functional.emotion_wheel_score``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If the wheel, the level or the mode does not exist.
    """

    def __init__(
        self,
        wheel: EmotionWheel,
        level: int = 1,
        mode: str = "official",
        zero_division: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.zero_division = zero_division
        self.wheel = check_wheel(wheel)
        self.level = level
        self.mode = check_mode(mode)
        wheel.grouping(1, level)
        self._setting = re.sub(r"\W", "_", f"{wheel.name}_level{level}_{mode}")
        self._states = tuple(f"{name}_{self._setting}" for name in ("by_size", "tallies", "labels"))
        num_wheels = wheel.num_wheels
        shapes = ((3, num_wheels, MAX_SIZE + 1), (num_wheels, len(TALLIES)), (len(LABELS),))
        for name, shape in zip(self._states, shapes, strict=True):
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return Counts(*(getattr(self, name) for name in self._states))

    def _add(self, counts: Counts) -> None:
        for name, value in zip(self._states, (counts.by_size, counts.tallies, counts.labels), strict=True):
            total: Tensor = getattr(self, name)
            setattr(self, name, total + value.to(total.device))
