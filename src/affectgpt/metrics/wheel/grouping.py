"""One way to sort labels into groups: what every wheel is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way to sort labels into groups.

    Attributes:
        groups: Names of the groups.
        codes: int16 ``[num_labels]``: the label's index in ``groups``, or -1 if it has no group.
    """

    groups: tuple[str, ...]
    codes: Codes

    def __post_init__(self) -> None:
        self.codes.setflags(write=False)
