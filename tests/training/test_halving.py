"""A batch that a device cannot hold is run in halves, in order, down to one clip."""

from __future__ import annotations

import pytest
import torch

from affectgpt.errors import DataError
from affectgpt.training.halving import in_halves

CPU = torch.device("cpu")


@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_results_come_in_order_whatever_fits(room: int) -> None:
    tried: list[int] = []

    def run(part: slice) -> list[str]:
        chosen = "abcdefg"[part]
        tried.append(len(chosen))
        if len(chosen) > room:
            raise torch.OutOfMemoryError("full")
        return list(chosen)

    assert in_halves(run, list("abcdefg"), CPU) == list("abcdefg")
    assert max(tried) == 7
    assert sum(n for n in tried if n <= room) == 7


def test_a_clip_that_does_not_fit_alone_is_named() -> None:
    def run(part: slice) -> list[str]:
        if part.start <= 2 < part.stop:
            raise torch.OutOfMemoryError("tried to allocate 7 GiB")
        return ["x"] * (part.stop - part.start)

    with pytest.raises(DataError, match=r"clip 'c' does not fit into the memory of cpu \(tried to allocate 7 GiB\)"):
        in_halves(run, list("abcd"), CPU)
