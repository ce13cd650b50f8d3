"""What a head wrote: texts, and the tokens that they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WrittenAnswers:
    """N answers; all answers to the first prompt come first.

    Attributes:
        texts: What was written, without what ended it.
        ids: int64 ``[N, A]`` on the CPU, the tokens, those that ended an answer included; padded on the right.
        keep: Bool ``[N, A]`` on the CPU; ``True`` marks a token of an answer.
        ended: Bool ``[N]`` on the CPU; ``False`` where an answer was cut at the longest length.
    """

    texts: tuple[str, ...]
    ids: Tensor
    keep: Tensor
    ended: Tensor

    @classmethod
    def of(cls, texts: Sequence[str], ids: Tensor, lengths: Sequence[int], ended: Sequence[bool]) -> WrittenAnswers:
        """Answers of these lengths, in tokens.

        Examples:
            >>> written = WrittenAnswers.of(["calm", ""], torch.tensor([[5, 2], [2, 0]]), [2, 1], [True, True])
            >>> written.keep.tolist()
            [[True, True], [True, False]]
        """
        keep = torch.arange(ids.shape[1]) < torch.tensor(lengths, dtype=torch.long)[:, None]
        return cls(tuple(texts), ids.cpu(), keep, torch.tensor(ended, dtype=torch.bool))
