"""Records ten training steps with torch's profiler, and sums up in words where their time went."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from affectgpt.files import write_whole

log = logging.getLogger(__name__)

SKIPPED_STEPS, STEPS = 3, 10
TRACE, SUMMARY = "profile.trace.json", "profile.txt"

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "aten::item", "aten::nonzero", "aten::_local_scalar_dense")
"""Operations after which the host has waited for the device; on the CPU they cost nothing, and show what would wait."""


class StepProfile(lightning.Callback):
    """Profiles steps 4 to 13 of a run, writes ``profile.trace.json`` and ``profile.txt``, and lets the run go on.

    The trace opens in chrome://tracing or https://ui.perfetto.dev. The first rank profiles alone.

    Args:
        folder: Where the two files go.
        stop: Whether the run ends after the profiled steps.
    """

    def __init__(self, folder: str | Path, *, stop: bool = True) -> None:
        self.folder = Path(folder)
        self.stop = stop
        self._profile: Any = None
        self._spans: list[Any] = []
        self._open_spans: dict[str, Any] = {}
        self._made = self._step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin, and name the parts of the model in the trace."""
        self._step = trainer.global_step
        if not trainer.is_global_zero:
            return
        kinds = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            kinds.append(ProfilerActivity.CUDA)
        plan = schedule(wait=1, warmup=SKIPPED_STEPS - 1, active=STEPS, repeat=1)
        self._profile = profile(activities=kinds, schedule=plan, on_trace_ready=self._write, acc_events=True)
        self._profile.start()
        network: Any = getattr(pl_module, "network", pl_module)
        named = {f"encoder {name}": module for name, module in getattr(network, "encoders", {}).items()}
        named |= {f"pooling {name}": module for name, module in getattr(network, "poolings", {}).items()}
        named |= {name: getattr(network, name) for name in ("prefusion", "llm") if hasattr(network, name)}
        for name, module in named.items():
            self._spans += _named(module, name)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The data are there."""
        self._close("waiting for data")

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """The backward pass begins."""
        self._open("backward pass")

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """The backward pass ends."""
        self._close("backward pass")

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Gradients are clipped and taken."""
        self._open("clipping and optimiser")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the step; the last one writes the files."""
        self._close("clipping and optimiser")
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        self._made += stepped  # several batches may be accumulated for a step
        if self._profile is not None:
            if stepped:
                self._profile.step()
            self._open("waiting for data")
        if self._made >= SKIPPED_STEPS + STEPS:
            self._end()
            trainer.should_stop = trainer.should_stop or self.stop

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write what there is of a run with fewer steps."""
        self._end()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Let go of the profiler."""
        self._end()

    def _open(self, name: str) -> None:
        if self._profile is not None:
            self._open_spans[name] = record_function(f"part: {name}")
            self._open_spans[name].__enter__()

    def _close(self, name: str) -> None:
        span = self._open_spans.pop(name, None)
        if span is not None:
            span.__exit__(None, None, None)

    def _end(self) -> None:
        for name in list(self._open_spans):
            self._close(name)
        running, self._profile = self._profile, None
        for handle in self._spans:
            handle.remove()
        self._spans = []
        if running is not None:
            running.stop()

    def _write(self, done: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        done.export_chrome_trace(str(self.folder / TRACE))
        text = summary(done.key_averages(), steps=min(STEPS, max(1, self._made - SKIPPED_STEPS)))
        write_whole(self.folder / SUMMARY, text)
        log.info("profiled: %s", self.folder / SUMMARY)


def summary(events: Iterable[Any], steps: int, most: int = 15) -> str:
    """Where the time of steps went, as text.

    Args:
        events: What the profiler averaged: each with ``key``, ``count`` and times in microseconds.
        steps: Steps that were recorded.
        most: Operations that are listed.
    """
    rows = {event.key: event for event in events}
    on_gpu = any(getattr(event, "device_time_total", 0) for event in rows.values())
    total = sum(_own(event, on_gpu) for event in rows.values()) or 1.0
    lines = [f"{steps} training steps, {total / steps / 1e3:.1f} ms a step of {'device' if on_gpu else 'CPU'} time", ""]
    lines += ["by stage, with all that it calls (CPU time as the host saw it)", ""]
    lines += _table(_stages(rows), steps)
    lines += ["", f"operations that took longest by themselves, on the {'device' if on_gpu else 'CPU'}", ""]
    operations = sorted(rows.values(), key=lambda event: -_own(event, on_gpu))[:most]
    for event in operations:
        own = _own(event, on_gpu)
        lines.append(f"{own / steps / 1e3:10.2f} ms {own / total:6.1%} {event.count / steps:8.0f} x  {event.key[:80]}")
    waits = {name: rows[name].count / steps for name in WAITS if name in rows}
    lines += [
        "",
        "operations that read a value of a tensor, a step; on a GPU the host waits for those of its tensors",
        "",
    ]
    lines += [f"{count:10.1f} x  {name}" for name, count in waits.items()] or ["         none"]
    return "\n".join(lines) + "\n"


def _stages(rows: Mapping[str, Any]) -> dict[str, float]:
    """Stages of a step, longest first: those of the trainer, and the forward passes of the model's parts."""
    found = {key.removeprefix("part: "): row.cpu_time_total for key, row in rows.items() if key.startswith("part: ")}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _table(spent: Mapping[str, float], steps: int) -> list[str]:
    return [f"{microseconds / steps / 1e3:10.2f} ms  {name}" for name, microseconds in spent.items()]


def _own(event: Any, on_gpu: bool) -> float:
    if event.key.startswith(("part: ", "ProfilerStep", "[pl]", "Optimizer.")):
        return 0.0
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)


def _named(module: torch.nn.Module, name: str) -> list[Any]:
    """Hooks that put a span with a name around a module's forward pass."""
    open_spans: list[Any] = []

    def begin(*_: Any) -> None:
        span = record_function(f"part: {name}")
        span.__enter__()
        open_spans.append(span)

    def end(*_: Any) -> None:
        if open_spans:
            open_spans.pop().__exit__(None, None, None)

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end, always_call=True)]
