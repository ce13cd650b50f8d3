"""Reads prompts into a key-value cache without padding, and what neighbours begin with alike once.

``B`` prompts, ``L`` tokens of the longest, ``E`` width of the embeddings, ``G`` groups of prompts that begin alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WORTH = 0.15
"""Prompts are cut where they part if that saves more than this share of their tokens: it takes a second pass."""


@dataclass(frozen=True)
class Beginnings:
    """What prompts begin with, each beginning once; everything on the CPU.

    Attributes:
        group: Group of each prompt, ``B`` numbers from 0; prompts of a group are neighbours.
        lengths: Tokens of each group's beginning, ``G`` numbers.
        first: The first prompt of each group.
    """

    group: tuple[int, ...]
    lengths: tuple[int, ...]
    first: tuple[int, ...]

    @classmethod
    def of(cls, embeds: Tensor, keep: Tensor) -> Beginnings:
        """Find neighbours that begin alike: two questions about a clip, say, whose prompts differ in their last words.

        Every prompt keeps its last token for itself. Where little would be saved, each is a group of its own, and its
        beginning the whole of it.

        Args:
            embeds: Float ``[B, L, E]``, padded on the left.
            keep: Bool ``[B, L]``; ``True`` marks a real token.

        Examples:
            >>> embeds = torch.tensor([[5.0, 6, 7], [5, 6, 8], [0, 3, 4]])[:, :, None]
            >>> Beginnings.of(embeds, torch.tensor([[True] * 3, [True] * 3, [False, True, True]]))
            Beginnings(group=(0, 0, 1), lengths=(2, 1), first=(0, 2))
        """
        lengths = keep.sum(1).cpu()
        alike = _alike(embeds, keep, lengths)
        groups: list[tuple[int, int]] = []  # first prompt, tokens in common
        group: list[int] = []
        for row, (shared, length) in enumerate(zip(alike, lengths.tolist(), strict=True)):
            # what most of a prompt differs from would cut the beginning of its neighbours short
            if row and 2 * min(shared, groups[-1][1]) >= max(length - 1, groups[-1][1]):
                groups[-1] = groups[-1][0], min(shared, groups[-1][1], length - 1)
            else:
                groups.append((row, length - 1))
            group.append(len(groups) - 1)
        ends = max(length - groups[number][1] for length, number in zip(lengths.tolist(), group, strict=True))
        if sum(length for _, length in groups) + ends * len(keep) > (1 - WORTH) * int(lengths.sum()):
            return cls(tuple(range(len(keep))), tuple(lengths.tolist()), tuple(range(len(keep))))
        return cls(tuple(group), tuple(length for _, length in groups), tuple(first for first, _ in groups))


@dataclass(frozen=True)
class BeginningRow:
    """The beginnings of all groups, end to end, ``T`` tokens; everything on the CPU.

    Attributes:
        row: int64 ``[T]``: the prompt that each token is taken from.
        column: int64 ``[T]``: its position in the padded prompt.
        group: int64 ``[T]``: its group.
        kept_at: int64 ``[T]``: its position in rows of beginnings that are padded on the left.
        last: int64 ``[G]``: where the last token of each beginning is.
        keep: Bool ``[G, P]``; ``True`` marks a token, in these rows.
    """

    row: Tensor
    column: Tensor
    group: Tensor
    kept_at: Tensor
    last: Tensor
    keep: Tensor

    @classmethod
    def of(cls, beginnings: Beginnings, keep: Tensor) -> BeginningRow:
        """Lay beginnings end to end.

        Args:
            beginnings: Of the prompts.
            keep: Bool ``[B, L]`` on the CPU, padded on the left.

        Examples:
            >>> keep = torch.tensor([[True] * 3, [True] * 3, [False, True, True]])
            >>> row = BeginningRow.of(Beginnings((0, 0, 1), (2, 1), (0, 2)), keep)
            >>> row.row.tolist(), row.column.tolist(), row.kept_at.tolist(), row.last.tolist()
            ([0, 0, 2], [0, 1, 1], [0, 1, 1], [1, 2])
        """
        lengths, first = torch.tensor(beginnings.lengths), torch.tensor(beginnings.first)
        group = torch.arange(len(lengths)).repeat_interleave(lengths)
        step = torch.arange(len(group)) - (lengths.cumsum(0) - lengths)[group]
        row, longest = first[group], int(lengths.max())
        start = keep.shape[1] - keep.sum(1)
        kept = torch.arange(longest) >= longest - lengths[:, None]
        return cls(row, start[row] + step, group, longest - lengths[group] + step, lengths.cumsum(0) - 1, kept)


def _alike(embeds: Tensor, keep: Tensor, lengths: Tensor) -> list[int]:
    """How many tokens each prompt begins with that the one before it has too; 0 for the first."""
    # the first token of every prompt to the left
    start = keep.shape[1] - lengths.to(keep.device)
    column = (start[:, None] + torch.arange(keep.shape[1], device=keep.device)).clamp(max=keep.shape[1] - 1)
    left = embeds.gather(1, column[:, :, None].expand_as(embeds))
    same = (left[1:] == left[:-1]).all(-1)
    shortest = torch.minimum(lengths[1:], lengths[:-1])
    found = same.cumprod(1).sum(1).cpu()
    return [0, *torch.minimum(found, shortest).tolist()]
