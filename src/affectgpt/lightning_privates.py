"""The one place that reaches into what Lightning does not promise to keep.

Written for Lightning 2.6. ``tests/training/test_lightning_privates.py`` fails when Lightning changes what is used here;
look at each function then, and raise ``WRITTEN_FOR``.
"""

from __future__ import annotations

from typing import Any

WRITTEN_FOR = "2.6"
"""The release of Lightning that these functions were read against."""


def steps_between_checkpoints(saver: Any) -> int:
    """The steps after which a ``ModelCheckpoint`` saves, 0 where it does not go by steps; it has no public name."""
    return int(saver._every_n_train_steps)


def saved_at_this_step(saver: Any, trainer: Any) -> bool:
    """Whether a ``ModelCheckpoint`` has written a file since the last optimiser step."""
    return bool(saver._last_global_step_saved == trainer.global_step)


def save_last_checkpoint(saver: Any, trainer: Any) -> None:
    """Have a ``ModelCheckpoint`` write its ``last.ckpt``, under the name and with the bookkeeping of its own."""
    saver._save_last_checkpoint(trainer, saver._monitor_candidates(trainer))


def writes_shards(strategy: Any) -> bool:
    """Whether a strategy of the trainer writes each rank's share of the weights into a checkpoint folder of its own.

    Lightning keeps the argument ``save_distributed_checkpoint`` of ``ModelParallelStrategy`` in a private attribute;
    other strategies have none.
    """
    return bool(getattr(strategy, "_save_distributed_checkpoint", False))


def tell_to_stop(trainer: Any) -> None:
    """Have the trainer raise its ``SIGTERMException`` after the batch at hand; the public attribute cannot be set."""
    trainer._signal_connector.received_sigterm = True


def batches_begun(trainer: Any) -> int:
    """Batches of the present epoch that training has begun, those before a resumed checkpoint included."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


def count_epoch_as_begun(trainer: Any) -> None:
    """Set the counts of epochs to those of a run in the middle of one.

    Resumed at the end of an epoch, Lightning 2.6 loses count of the epochs that were begun; a checkpoint written in the
    next one would then pass for the end of it, and its batches be learnt again.
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
    """Have a checkpoint restore another number of batches of the epoch as made.

    Args:
        checkpoint: Changed in place.
        by: What is added to each count.
        is_last: Whether the epoch is then over.
    """
    progress = batches_in(checkpoint)
    for name in ("ready", "started", "processed", "completed"):
        progress["current"][name] += by
    progress["is_last_batch"] = is_last
