"""What clips bring to their prompts: the tokens of every slot, and which samples have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from affectgpt.llm.scatter import sent
from affectgpt.types import Features, rows_kept


@dataclass(frozen=True)
class SlotContent:
    """The slots of a batch, filled; the encoders need not run again for another question.

    Attributes:
        tokens: Slot to float ``[B, K, E]``, at the width of the language model.
        present: Slot to, for each sample, whether its tokens are shown.
    """

    tokens: Mapping[str, Tensor]
    present: Mapping[str, Sequence[bool]]

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        return next(iter(self.tokens.values())).device

    @property
    def used(self) -> list[tuple[str, ...]]:
        """The slots that each sample fills."""
        num_samples = len(next(iter(self.present.values())))
        return [tuple(name for name, there in self.present.items() if there[i]) for i in range(num_samples)]

    def rows(self, rows: Sequence[int]) -> SlotContent:
        """Some of the samples, in this order; one may come several times."""
        index = sent(torch.tensor(list(rows), dtype=torch.long), self.device)
        return SlotContent(
            {name: value.index_select(0, index) for name, value in self.tokens.items()},
            {name: [there[i] for i in rows] for name, there in self.present.items()},
        )

    @staticmethod
    def joined(contents: Sequence[SlotContent]) -> SlotContent:
        """The samples of several batches, one after the other."""
        return SlotContent(
            {name: torch.cat([one.tokens[name] for one in contents]) for name in contents[0].tokens},
            {name: [there for one in contents for there in one.present[name]] for name in contents[0].present},
        )


def shown(features: Features, there: Tensor) -> Features:
    """Features of a stream, with no real step in the samples that do not show it.

    Args:
        features: ``hidden`` ``[B, T, D]``.
        there: Bool ``[B]`` on the CPU; ``True`` where the sample shows the stream.
    """
    if torch.equal(there, rows_kept(features.keep)):
        return features
    return Features(features.hidden, features.keep & sent(there[:, None], features.keep.device))
