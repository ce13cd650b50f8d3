"""The nine test sets of MER-UniBench (Lian et al. 2025, table 11), as data."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from affectgpt.errors import ConfigError

Task = Literal["discrete", "sentiment", "open"]


@dataclass(frozen=True)
class TestSet:
    """One test set.

    Attributes:
        name: As ``affectgpt.bench.score`` takes it.
        title: As papers print it.
        task: ``discrete`` (one label, hit rate), ``sentiment`` (a signed score, weighted F1) or ``open`` (a list of
            labels, wheel F1).
        num_samples: Size of the published test split.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    title: str
    task: Task
    num_samples: int

    @property
    def metric(self) -> str:
        """The figure that the benchmark reports for the set."""
        return {"discrete": "hit_rate", "sentiment": "weighted_f1", "open": "f1"}[self.task]


TEST_SETS: Mapping[str, TestSet] = {
    test_set.name: test_set
    for test_set in (
        TestSet("mer2023", "MER2023", "discrete", 411),
        TestSet("mer2024", "MER2024", "discrete", 1169),
        TestSet("meld", "MELD", "discrete", 2610),
        TestSet("iemocap", "IEMOCAP", "discrete", 1241),
        TestSet("mosi", "CMU-MOSI", "sentiment", 686),
        TestSet("mosei", "CMU-MOSEI", "sentiment", 4659),
        TestSet("sims", "CH-SIMS", "sentiment", 457),
        TestSet("simsv2", "CH-SIMS v2", "sentiment", 1034),
        TestSet("ovmerdplus", "OV-MERD+", "open", 532),
    )
}


def get_test_set(name: str) -> TestSet:
    """The test set of that name; case, dashes and spaces do not matter.

    Raises:
        ConfigError: If there is none.
    """
    plain = "".join(c for c in name.lower().replace("+", "plus") if c.isalnum()).removeprefix("cmu").removeprefix("ch")
    if plain in TEST_SETS:
        return TEST_SETS[plain]
    near = difflib.get_close_matches(plain, TEST_SETS, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ConfigError(f"no test set is called {name!r}.{hint} Known: {', '.join(TEST_SETS)}")
