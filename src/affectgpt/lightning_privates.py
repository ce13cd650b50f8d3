"""The only file that uses private attributes of Lightning.

Written for Lightning 2.6. ``tests/training/test_lightning_privates.py`` fails when Lightning changes what is used here;
then check each function and raise ``WRITTEN_FOR``.
"""

from __future__ import annotations

from typing import Any

WRITTEN_FOR = "2.6"
"""The release of Lightning that these functions were checked against."""


def steps_between_checkpoints(saver: Any) -> int:
    """The number of steps after which a ``ModelCheckpoint`` saves; 0 if it does not save by steps."""
    return int(saver._every_n_train_steps)


def saved_at_this_step(saver: Any, trainer: Any) -> bool:
    """Whether a ``ModelCheckpoint`` has written a file since the last optimiser step."""
    return bool(saver._last_global_step_saved == trainer.global_step)


def save_last_checkpoint(saver: Any, trainer: Any) -> None:
    """Make a ``ModelCheckpoint`` write its ``last.ckpt`` with its own naming and bookkeeping."""
    saver._save_last_checkpoint(trainer, saver._monitor_candidates(trainer))


def writes_shards(strategy: Any) -> bool:
    """Whether a strategy of the trainer saves each rank's share of the weights separately in a checkpoint folder.

    Lightning keeps the argument ``save_distributed_checkpoint`` of ``ModelParallelStrategy`` in a private attribute;
    other strategies have none.
    """
    return bool(getattr(strategy, "_save_distributed_checkpoint", False))


def give_mesh(module: Any, mesh: Any) -> None:
    """Set the ``device_mesh`` of a module, which the public attribute only reads."""
    module._device_mesh = mesh


def tell_to_stop(trainer: Any) -> None:
    """Make the trainer raise its ``SIGTERMException`` after the current batch; the public attribute is read-only."""
    trainer._signal_connector.received_sigterm = True


def leave_signals_to_callback(trainer: Any) -> None:
    """Let a callback alone decide when ranks stop.

    At the start of every batch Lightning broadcasts over the device whether the first rank was told to stop, and waits
    for the answer: the host could never run ahead of a GPU.
    """
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def batches_begun(trainer: Any) -> int:
    """Number of batches of the current epoch that training has begun, including those before a resumed checkpoint."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


def count_epoch_as_begun(trainer: Any) -> None:
    """Set the epoch counts to those of a run in the middle of an epoch.

    If it resumes at the end of an epoch, Lightning 2.6 does not count the next epoch as begun; a checkpoint written in
    that epoch would then look like one from its end, and its batches would be learnt again.
    """
    progress = trainer.fit_loop.epoch_progress
    for count in (progress.total, progress.current):
        vars(count).update(ready=count.completed + 1, started=count.completed + 1, processed=count.completed)


def batches_in(checkpoint: Any) -> dict[str, Any]:
    """The progress within the epoch that a checkpoint restores: ``current`` counts, and ``is_last_batch``."""
    progress: dict[str, Any] = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return progress


def epochs_in(checkpoint: Any) -> dict[str, int]:
    """The counts of epochs that a checkpoint restores: ``ready``, ``started``, ``processed`` and ``completed``."""
    counts: dict[str, int] = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    return counts


def move_batches(checkpoint: Any, by: int, *, is_last: bool) -> None:
    """Change the number of finished batches that a checkpoint restores.

    Args:
        checkpoint: The checkpoint, changed in place.
        by: Number to add to each count.
        is_last: Whether the epoch is then finished.
    """
    progress = batches_in(checkpoint)
    for name in ("ready", "started", "processed", "completed"):
        progress["current"][name] += by
    progress["is_last_batch"] = is_last
