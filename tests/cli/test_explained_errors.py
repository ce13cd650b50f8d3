"""Errors of libraries that a user can mend are explained in one line, and are no bug of ours."""

from __future__ import annotations

from affectgpt.cli.explain import explain


def test_the_same_callback_twice_is_named() -> None:
    lightning_says = (
        "Found more than one stateful callback of type `ModelCheckpoint`. In the current configuration, this callback "
        "does not support being saved alongside other instances of the same type."
    )
    told = explain(RuntimeError(lightning_says))
    assert told is not None
    assert told.startswith("trainer.callbacks has ModelCheckpoint twice")
    assert explain(RuntimeError("something else")) is None
