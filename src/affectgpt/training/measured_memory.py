"""Measures the most memory that two training steps take, beside the estimate for the same batches."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from affectgpt.errors import ConfigError
from affectgpt.prompts.render import IGNORE
from affectgpt.training.sharding import ShardedStrategy
from affectgpt.training.start_report import memory_of, size_in_words

STEPS = 2
"""The first step makes the moments of the optimiser; the second begins with them."""


class MeasuredMemory(lightning.Callback):
    """Ends a run after two steps, and tells the most memory that they took.

    On a GPU that is what its allocator counted. Elsewhere no one counts, so every tensor is, from the operation that
    made it until it is let go; what an operation takes for itself while it runs is not seen.

    Args:
        tell: Called with the line.

    Attributes:
        peak_bytes: The most memory, when the run is over.
        estimated_bytes: The estimate for the largest batch of these steps; ``None`` if the language model was not run
            over whole batches, as an objective may do.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.peak_bytes = 0
        self.estimated_bytes: int | None = None
        self._largest = (0, 0, 0)
        self._hook: Any = None
        self._counter: TensorCounter | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count.

        Raises:
            ConfigError: If ranks share weights that no allocator counts.
        """
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        elif isinstance(trainer.strategy, ShardedStrategy):
            raise ConfigError("--memory counts whole tensors where there is no GPU; leave out the strategy fsdp2")
        else:
            self._counter = TensorCounter()
            for tensor in [*pl_module.parameters(), *pl_module.buffers()]:
                self._counter.count(tensor)
            self._counter.__enter__()
        llm: Any = pl_module.llm
        self._hook = llm.register_forward_pre_hook(self._note, with_kwargs=True)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the run after the last step."""
        trainer.should_stop = trainer.should_stop or trainer.global_step >= STEPS

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Tell what was counted."""
        self._end(pl_module)
        if not trainer.is_global_zero:
            return
        line = f"memory of the device, measured over {trainer.global_step} steps: {size_in_words(self.peak_bytes)}"
        positions, rows, learnt = self._largest
        if positions:
            self.estimated_bytes = memory_of(trainer, pl_module, 1, positions, learnt).total
            shape = f"{rows} x {positions // rows}"
            line += f"; by formula {size_in_words(self.estimated_bytes)} for the largest batch, {shape} tokens"
        self.tell(line)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Count no more."""
        self._end(pl_module)

    def _note(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(("embeds", "keep", "labels"), args, strict=False)) | kwargs
        rows, width = given["embeds"].shape[:2]
        labels = given.get("labels")
        learnt = 0 if labels is None else int((labels != IGNORE).sum())
        self._largest = max(self._largest, (rows * width, rows, learnt))

    def _end(self, module: Any) -> None:
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        if self._counter is None:
            self.peak_bytes = torch.cuda.max_memory_allocated(module.device)
        else:
            self._counter.__exit__(None, None, None)
            self.peak_bytes = self._counter.peak_bytes


class TensorCounter(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, as long as anyone holds them.

    Attributes:
        peak_bytes: The most at one time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._held: dict[int, int] = {}
        self._bytes = 0

    def count(self, tensor: Tensor) -> None:
        """Count a tensor that is there; views of it are the same memory."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._held:
            self._held[storage._cdata] = storage.nbytes()
            self._bytes += storage.nbytes()
            self.peak_bytes = max(self.peak_bytes, self._bytes)
            weakref.finalize(storage, self._let_go, storage._cdata)

    def _let_go(self, number: int) -> None:
        self._bytes -= self._held.pop(number)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and not leaf.is_meta:
                self.count(leaf)
        return made
