"""Whatever a checkpoint says of its position in the data, only a CheckpointError comes of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt.errors import CheckpointError
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.stream import BadSample
from streamrun import SaveEverywhere, fit

pytestmark = pytest.mark.filterwarnings("ignore")
WRONG: list[Any] = [None, True, -1, 2.5, "x", [], [1], [None], {}, {"a": 1}, [[]]]
RECORD = {"key": "c", "shard": "s.tar", "address": [0, 0, 1], "code": "bad", "reason": "why", "epoch": 0,
          "replaced_by": None}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("stored")
    saver = SaveEverywhere(folder)
    fit(train=str(shards), max_epochs=1, callbacks=[saver], default_root_dir=folder)
    return torch.load(saver.saved[1][0], weights_only=True)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value inside a nested one stands."""
    inner: list[Any] = []
    if isinstance(value, dict | list):
        inner = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [*([at] if at else []), *(place for key, item in inner for place in places(item, (*at, key)))]


def changed(value: Any, at: tuple[Any, ...], to: Any) -> Any:
    new = copy.deepcopy(value)
    inner = new
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = to
    return new


def test_every_wrong_value_of_the_stored_position(checkpoint: dict[str, Any], shards: Path, tmp_path: Path) -> None:
    """Without a trainer: what the datamodule and the bookmark make of it."""
    from affectgpt.streaming.resume import _Saved

    state = checkpoint["MERCaptionDataModule"]
    assert _Saved.of(state).leg.epoch == 0
    for place in places(state):
        for wrong in WRONG:
            try:
                saved = _Saved.of(changed(state, place, wrong))
                BadSampleBudget(0.5).restore(saved.bad_samples)
            except CheckpointError:
                continue
            except Exception as error:
                pytest.fail(f"{place} = {wrong!r}: {type(error).__name__}: {error}")
    for wrong in WRONG:
        if wrong != {}:  # what is written before the first batch
            with pytest.raises(CheckpointError):
                _Saved.of(wrong)


@pytest.mark.parametrize("field", RECORD)
@pytest.mark.parametrize("wrong", [..., 3.5, {"a": 1}, [1, 2]], ids=repr)
def test_a_record_of_a_bad_sample_is_checked_field_by_field(field: str, wrong: Any) -> None:
    record = {name: value for name, value in RECORD.items() if name != field}
    record |= {} if wrong is ... else {field: wrong}
    budget = BadSampleBudget(0.5)
    if field == "replaced_by" and wrong is ...:
        budget.restore([record])
        return
    with pytest.raises(CheckpointError, match=f"no '{field}' of the right kind"):
        budget.restore([record])


def test_what_was_noted_is_restored() -> None:
    budget = BadSampleBudget(0.5)
    budget.note(BadSample("c", "s.tar", (0, 0, 1), "bad", "why"), 0, None)
    again = BadSampleBudget(0.5)
    again.restore(budget.to_json())
    assert again.to_json() == budget.to_json() == [RECORD]


@pytest.mark.parametrize(
    "broken",
    [
        lambda saved: saved["MERCaptionDataModule"].update(bad_samples=[{"key": "c"}]),
        lambda saved: saved["MERCaptionDataModule"].pop("plan"),
        lambda saved: saved.update(MERCaptionDataModule=[1]),
        lambda saved: saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"].update(processed="x"),
    ],
    ids=["record", "plan", "list", "count"],
)
def test_a_run_that_resumes_from_it_says_so(broken, checkpoint, shards: Path, tmp_path: Path) -> None:
    saved = copy.deepcopy(checkpoint)
    broken(saved)
    torch.save(saved, tmp_path / "broken.ckpt")
    with pytest.raises(CheckpointError):
        fit(train=str(shards), max_epochs=1, ckpt=tmp_path / "broken.ckpt", default_root_dir=tmp_path)
