"""Writes checkpoints in shards, in the background where asked: each rank its own share, whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import async_save, save

from affectgpt.checkpoints.shard_folder import FACTS, hidden_name, system_reason
from affectgpt.errors import CheckpointError
from affectgpt.files import replace_folder, restore_folder


@dataclass
class _Pending:
    """A checkpoint that is being written; not frozen, folders to remove are added."""

    path: Path
    beside: Path
    done: Future[None] = field(default_factory=Future)
    doomed: list[Path] = field(default_factory=list)


class ShardWriter:
    """Writes checkpoints one at a time; every rank must make the same calls.

    A folder is written beside the one that it replaces, and takes its name when all ranks are done: the first rank's
    writing ends with the index, which needs every rank's. Until then it has another name each time: a machine may
    remember for a minute which folder of a shared disk had a name, and would write into the checkpoint that got another
    one. In the background, tensors are copied to the host before ``write`` returns, so that training may change them;
    an error comes up at the next call. What ``remove`` is told meanwhile stays until the new checkpoint is whole, so
    that a kill at any time leaves one.

    Args:
        rank: This process's.
        barrier: Waits for all ranks.
        background: Whether ``write`` returns before the checkpoint is on the disk.
        group: The ranks' own gloo group for this purpose, apart from that of the training.
    """

    def __init__(
        self,
        rank: int = 0,
        barrier: Callable[[], Any] = lambda: None,
        *,
        background: bool = False,
        group: Any = None,
    ) -> None:
        self._rank = rank
        self._barrier = barrier
        self._background = background
        self._group = group
        self._pending: _Pending | None = None

    def write(self, tensors: Mapping[str, Any], facts: Mapping[str, Any], path: Path) -> None:
        """Write a checkpoint.

        Args:
            tensors: ``state_dict`` and the moments of optimisers, nested; tensors that are sharded are written by the
                ranks that hold them.
            facts: All other content, written by the first rank.
            path: The folder to make or replace.

        Raises:
            CheckpointError: If it cannot be written, or the last one could not; what had that name before is still
                there.
        """
        self.finish()
        begun: list[str | None] = [None, None]
        if self._rank == 0:
            begun = [*_begin(facts, path)]
        if torch.distributed.is_initialized():
            torch.distributed.broadcast_object_list(begun)
        name, problem = begun
        beside = path.with_name(str(name))
        if problem is not None:
            if self._rank == 0:
                shutil.rmtree(beside, ignore_errors=True)
            raise _not_written(path, problem)
        self._pending = pending = _Pending(path, beside)
        writer, alone = FileSystemWriter(beside, sync_files=True), not torch.distributed.is_initialized()
        if self._background:
            options = {"process_group": self._group, "no_dist": alone}
            written = async_save(dict(tensors), storage_writer=writer, **options)
            assert isinstance(written, Future)
            written.add_done_callback(lambda found: self._end(pending, found.result))
        else:
            self._end(pending, lambda: save(dict(tensors), storage_writer=writer, no_dist=alone))
        if not self._background:
            self.finish()
            self._barrier()

    def remove(self, path: Path) -> bool:
        """Remove a checkpoint once the one that is being written is whole; ``False`` if none is, and it can go now."""
        if self._pending is None or self._pending.done.done():
            return False
        self._pending.doomed.append(path)
        return True

    def finish(self) -> None:
        """Wait until the last checkpoint is whole.

        Raises:
            CheckpointError: If it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.done.result()
        except (CheckpointException, OSError) as error:
            raise _not_written(pending.path, system_reason(error)) from error
        self._remove_doomed(pending)  # what it was told in the last moment

    def _end(self, pending: _Pending, write: Callable[[], Any]) -> None:
        """Give the folder its name when ``write`` has written it."""
        try:
            write()
            if self._rank == 0:
                if pending.path.is_file():
                    pending.path.unlink()
                replace_folder(pending.beside, pending.path, hidden_name(pending.path))
            self._remove_doomed(pending)
        except BaseException as error:
            if self._rank == 0:
                shutil.rmtree(pending.beside, ignore_errors=True)
            pending.done.set_exception(error)
        else:
            pending.done.set_result(None)

    def _remove_doomed(self, pending: _Pending) -> None:
        if self._rank == 0:
            for path in pending.doomed:
                shutil.rmtree(path, ignore_errors=True)


def _begin(facts: Mapping[str, Any], path: Path) -> tuple[str, str | None]:
    """Make the folder and write the facts; its name, and what went wrong, if anything did."""
    beside = path.with_name(saving_names(path.name, uuid.uuid4().hex[:8]))
    try:
        restore_folder(path, hidden_name(path))
        for left in path.parent.glob(saving_names(escape(path.name))):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        beside.mkdir(parents=True)
        with (beside / FACTS).open("wb") as file:
            torch.save(dict(facts), file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        return beside.name, system_reason(error)
    return beside.name, None


def saving_names(name: str = "*", token: str = "*") -> str:
    """A pattern of the names that folders have while checkpoints called ``name`` are written."""
    return f".{name}-saving-{token}"


def _not_written(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{str(path)!r} cannot be written ({reason}); earlier checkpoints are as they were: free some space, or make "
        "the folder one that can be written, and go on from the last of them"
    )
