"""Says at the start of a run what it is: ranks, strategy, attention, weights, rates, memory, data, effective batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning

from affectgpt.llm.attention_in_words import attention_in_words
from affectgpt.streaming.epoch_plan import EpochPlan
from affectgpt.training.memory_estimate import StepMemory, parameters_of, step_memory
from affectgpt.training.optim import OptimSpec
from affectgpt.training.sharding import ShardedStrategy
from affectgpt.training.tensor_parallel import TensorParallelStrategy
from affectgpt.training.validation_overlap import validation_overlap

ANSWER_SHARE = 0.25
"""Of a sequence, the share that is taken for the answer in the estimate of the logits."""


class StartReport(lightning.Callback):
    """Tells what a run is before its first step; the first rank speaks for all.

    Args:
        tell: Takes the lines.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report."""
        if trainer.is_global_zero:
            for line in describe_run(trainer, pl_module, trainer.datamodule):  # type: ignore[attr-defined]
                self.tell(line)


def describe_run(trainer: lightning.Trainer, model: Any, data: Any) -> list[str]:
    """The lines of the report; the trainer need not have begun.

    Args:
        trainer: The trainer.
        model: An ``AffectGPT``, or another module, of which less is told.
        data: The datamodule; ``None`` if the data do not come as one.
    """
    ranks = trainer.world_size
    lines = [f"run: {_plural(ranks, 'rank')} on {_plural(trainer.num_nodes, 'node')}, {_strategy(trainer)}, "
             f"precision {trainer.precision}, on {trainer.strategy.root_device.type}"]  # fmt: skip
    lines += _model_lines(trainer, model, data) if hasattr(model, "network") else []
    lines += _data_lines(trainer, model, data)
    # it reads every header, for minutes on a shared disk; a run that goes on has said it already
    overlap = None if trainer.ckpt_path else validation_overlap(data)
    return lines if overlap is None else [*lines, overlap]


def _strategy(trainer: lightning.Trainer) -> str:
    strategy = trainer.strategy
    if isinstance(strategy, ShardedStrategy):
        return "weights shared by FSDP2" + (", kept on the host" if strategy.cpu_offload else "")
    if isinstance(strategy, TensorParallelStrategy):
        size = strategy.tensor_parallel_size
        copies = _plural(trainer.world_size // size, "group")
        return f"{copies} of {size} ranks that split the layers of the language model (tensor parallelism)"
    return {"DDPStrategy": "a copy of the model on each (DDP)", "SingleDeviceStrategy": "one device"}.get(
        type(strategy).__name__, type(strategy).__name__
    )


def _model_lines(trainer: lightning.Trainer, model: Any, data: Any) -> list[str]:
    lines = [f"attention of the language model: {attention_in_words(model.llm)}"]
    counts = parameters_of(model)
    own = "" if model.llm.tensor_share is None else " on this rank"
    lines.append(
        f"weights{own}: {sum(t for t, _ in counts.values()):,} trained, {sum(f for _, f in counts.values()):,} frozen"
    )
    width = max(map(len, counts))
    for name, (trained, frozen) in counts.items():
        lines.append(f"  {name:<{width}}  {trained:>15,} trained  {frozen:>15,} frozen")
    if isinstance(spec := getattr(model, "optim", None), OptimSpec):
        lines.append(_rate_line(spec))
    batch_size, longest = getattr(data, "batch_size", 1), model.network.renderer.max_tokens
    budget = getattr(data, "batch_tokens", None)
    shape = f"{batch_size} x {longest}" if budget is None else f"{budget}"
    batch_size, longest = (batch_size, longest) if budget is None else (1, budget)
    memory = memory_of(trainer, model, batch_size, longest, int(ANSWER_SHARE * longest))
    shown = ", ".join(f"{name} {size_in_words(size)}" for name, size in memory.lines().items())
    host = f"; {size_in_words(memory.on_host)} of it on the host" if memory.on_host else ""
    lines.append(f"memory a device, estimated for {shape} tokens: {size_in_words(memory.total)} ({shown}){host}")
    return lines


def memory_of(trainer: lightning.Trainer, model: Any, rows: int, tokens: int, answer_tokens: int) -> StepMemory:
    """The estimate for a batch, as the trainer's strategy shares the model.

    Args:
        trainer: The trainer.
        model: An ``AffectGPT``.
        rows: Samples in the batch.
        tokens: Tokens of a sample, placeholders and answer included.
        answer_tokens: Of these, the supervised ones.
    """
    strategy = trainer.strategy
    return step_memory(
        model,
        rows,
        tokens,
        answer_tokens,
        shares=trainer.world_size if isinstance(strategy, ShardedStrategy) else 1,
        offload=isinstance(strategy, ShardedStrategy) and strategy.cpu_offload,
        split=_size_of_group(trainer),
    )


def _size_of_group(trainer: lightning.Trainer) -> int:
    """The ranks that hold one language model together."""
    strategy = trainer.strategy
    return strategy.tensor_parallel_size if isinstance(strategy, TensorParallelStrategy) else 1


def _rate_line(spec: OptimSpec) -> str:
    """The learning rates; those of parts may have come with a stored model that training starts from."""
    of_parts = ", ".join(f"{start} {rate:g}" for start, rate in spec.lr_of.items())
    shape = "constant" if spec.schedule == "constant" else f"{spec.schedule} over {spec.total_steps:,} steps"
    warmup = f" after {_plural(spec.warmup_steps, 'step')} of warm-up" if spec.warmup_steps else ""
    return f"learning rate: {spec.lr:g}{f' ({of_parts})' if of_parts else ''}, {shape}{warmup}"


def _data_lines(trainer: lightning.Trainer, model: Any, data: Any) -> list[str]:
    readers = trainer.world_size // _size_of_group(trainer)
    reader = "rank" if readers == trainer.world_size else "group"
    batch_size, accumulated = getattr(data, "batch_size", None), trainer.accumulate_grad_batches
    if batch_size is None:
        return []
    lines, mean = [], ""
    if getattr(data, "batch_window", 1) > 1:
        mean = " on average"
        if data.batch_tokens is not None:
            batch_size = data.size_for(data.batch_tokens, model.sample_check() if hasattr(model, "network") else None)
        budget = "" if data.batch_tokens is None else f", of about {data.batch_tokens} tokens at most"
        lines.append(f"batches: {data.batch_window} are dealt out together by length{budget}")
    if hasattr(data, "plan_for"):
        lines.append(_epoch_line(trainer, data, data.plan_for(readers, batch_size), mean, reader))
        lines += _validation_lines(trainer, model, data, readers, reader)
    effective = batch_size * accumulated * readers
    made_of = f"{batch_size} x {accumulated} accumulated x {_plural(readers, reader)}"
    return [*lines, f"effective batch: {made_of} = {effective}{mean}"]


def _epoch_line(trainer: lightning.Trainer, data: Any, plan: EpochPlan, mean: str, reader: str) -> str:
    """What of the data an epoch reads."""
    indexes = data.indexes("train")
    samples, shards = sum(index.samples for index in indexes), sum(len(index.shards) for index in indexes)
    batches = _limited(plan.steps, trainer.limit_train_batches)
    read = min(plan.share, batches * plan.batch_size)
    left = plan.samples - plan.world_size * read
    unread = f"; {left:,} others each time are left out" if left else ""
    limit = ", a limit of the trainer" if batches < plan.steps else ""
    return (
        f"data: {samples:,} samples in {_plural(shards, 'shard')}; each {reader} reads {read:,} an epoch, in "
        f"{_plural(batches, 'batch', 'batches')} of {plan.batch_size}{mean}{limit}{unread}"
    )


def _validation_lines(trainer: lightning.Trainer, model: Any, data: Any, readers: int, reader: str) -> list[str]:
    if not data.sets.get("val"):
        return ["validation: none, there is no val set"]
    samples, size = sum(index.samples for index in data.indexes("val")), data.val_batch_size
    share = -(-samples // readers)  # the last one reads some of the first ones again
    batches = _limited(-(-share // size), trainer.limit_val_batches)
    if not batches:
        return ["validation: none, trainer.limit_val_batches leaves nothing"]
    answered = getattr(getattr(model, "steps", None), "answered_val_batches", None)
    few = "" if answered is None or answered >= batches else f", of which the first {answered:,} are answered"
    return [f"validation: {samples:,} samples, {_plural(batches, 'batch', 'batches')} of {size} on each {reader}{few}"]


def _limited(batches: int, limit: float | int) -> int:
    """Batches that a limit of the trainer leaves, a number of batches or a share of them."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _plural(count: int, what: str, many: str = "") -> str:
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def size_in_words(size: int) -> str:
    """Bytes as MB or GB."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
