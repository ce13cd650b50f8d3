"""Splits the time of recorded training steps into matrix products, attention, losses and everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch.autograd import DeviceType

ATTENTION = ("attention", "attn")
LOSSES = ("crossentropy", "logsoftmax", "nllloss", "frozenoutput")
"""What plain names of operations hold; the last is the library's own loss under a frozen output layer."""


@dataclass
class Shares:
    """Where the time of some steps went, in microseconds.

    Attributes:
        products: Matrix products, convolutions among them, those of the losses too.
        attention: Attention of the samples, forward and backward, with all that it calls.
        attention_backward: The backward pass alone.
        losses: Losses of the answers, without the products of their logits.
        others: All other operations, by name.
    """

    products: float = 0.0
    attention: float = 0.0
    attention_backward: float = 0.0
    losses: float = 0.0
    others: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> float:
        """All of it."""
        return self.products + self.attention + self.losses + self.others.total()

    def told(self, steps: int, most: int = 6) -> str:
        """One sentence for the result file, with the longest of the other operations."""
        total = self.total or 1.0
        longest = ", ".join(f"{name} {time / total:.0%}" for name, time in self.others.most_common(most))
        return (
            f"Where the time of a step of the last row went (`torch.profiler`, mean of {steps}, "
            f"{total / steps / 1e6:.2f} s): matrix products {self.products / total:.0%}, attention of the samples "
            f"{self.attention / total:.0%} (backward {self.attention_backward / total:.0%}), losses of the answers "
            f"{self.losses / total:.0%}, everything else {self.others.total() / total:.0%} ({longest})."
        )


def shares(events: Iterable[Any], *, on_gpu: bool) -> Shares:
    """Add up what each operation took by itself, without those that it called.

    Args:
        events: What ``torch.profiler.profile.events()`` gives.
        on_gpu: Whether the time of the GPU counts, or that of the CPU.
    """
    found = Shares()
    for event in events:
        if event.device_type != DeviceType.CPU:
            continue  # a kernel, which counts with the operation that launched it
        own = float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)
        called = [_plain(name) for name in _names(event)]
        attending = [name for name in called if any(word in name for word in ATTENTION)]
        if attending:
            found.attention += own
            found.attention_backward += own * any("backward" in name for name in attending)
        elif called[0].endswith("mm") or "convolution" in called[0]:  # mm, addmm, bmm, baddbmm
            found.products += own
        elif any(word in name for name in called for word in LOSSES):
            found.losses += own
        else:
            found.others[event.name.removeprefix("aten::")] += own
    return found


def _names(event: Any) -> Iterable[str]:
    """The name of an operation, and of all that it was called from."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def _plain(name: str) -> str:
    """A name in small letters, without underscores: ``_log_softmax`` and ``LogSoftmaxBackward0`` look alike then."""
    return name.lower().replace("_", "")
