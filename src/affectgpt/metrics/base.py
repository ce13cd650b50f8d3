"""What the metric classes share: plotting, and for emotion labels the vocabulary, the mode and the summed counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from affectgpt.metrics.functional.counts import LABELS, MAX_SIZE, TALLIES, Counts
from affectgpt.metrics.labels import check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, check_wheel

Scores = Mapping[str, Tensor]


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

    def plot(self, val: Scores | Sequence[Scores] | None = None, ax: Any = None) -> Any:
        """Plot the main figures of one result, or their course over several.

        Args:
            val: A result of ``compute`` or ``forward``, or a list of them; by default that of ``compute``.
            ax: The matplotlib axes to draw into; by default new ones.

        Returns:
            Figure (``None`` for given axes) and axes.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        chosen = self.compute() if val is None else val
        if isinstance(chosen, Mapping):
            return self._plot({name: chosen[name] for name in self.plotted}, ax)
        return self._plot([{name: one[name] for name in self.plotted} for one in chosen], ax)


class OverlapMetric(ScoreMetric):
    """Sums overlap counts over batches and ranks.

    The states are int64 tensors that ranks add, so the result does not depend on who saw which sample. Their names
    carry wheel, level and mode: a state of another setting is refused on loading, and ``MetricCollection`` does not
    take two settings for one because their first batches happened to agree.

    Args:
        wheel: The vocabulary.
        level: Ring of the wheels, 1 or 2.
        mode: ``official`` or ``strict``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ConfigError: If wheel, level or mode do not exist.
    """

    def __init__(self, wheel: EmotionWheel, level: int = 1, mode: str = "official", **kwargs: Any) -> None:
        super().__init__(**kwargs)
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
        """What was summed so far."""
        return Counts(*(getattr(self, name) for name in self._states))

    def _add(self, counts: Counts) -> None:
        for name, value in zip(self._states, (counts.by_size, counts.tallies, counts.labels), strict=True):
            total: Tensor = getattr(self, name)
            setattr(self, name, total + value.to(total.device))

    def update(self, preds: Sequence[Any], target: Sequence[Any]) -> None:
        """Add a batch; see the class for what its members are."""
        raise TypeError(f"{type(self).__name__} must define update")
