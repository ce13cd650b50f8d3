"""Rows that hold several samples, one after the other: their borders, positions and attention mask.

``B`` rows, ``L`` tokens per row, ``E`` width of the embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from affectgpt.errors import AlignmentError
from affectgpt.prompts.render import IGNORE


@dataclass(frozen=True)
class PackedRow:
    """Samples in one row, without padding.

    Attributes:
        embeds: Float ``[1, L, E]``.
        keep: Bool ``[1, L]``; all ``True``.
        labels: int64 ``[1, L]``, -100 where nothing is learnt; ``None`` without labels.
        sample_ids: int64 ``[1, L]``: 1 for the tokens of the first sample, 2 for those of the second, ...
    """

    embeds: Tensor
    keep: Tensor
    labels: Tensor | None
    sample_ids: Tensor


def pack_samples(embeds: Tensor, keep: Tensor, labels: Tensor | None = None) -> PackedRow:
    """Lay the samples of a padded batch end to end.

    Args:
        embeds: Float ``[B, L, E]``, one sample per row.
        keep: Bool ``[B, L]``; ``True`` marks a real token.
        labels: int64 ``[B, L]``; -100 where nothing is learnt.

    Returns:
        One row with the real tokens of all samples, in order.

    Examples:
        >>> keep = torch.tensor([[True, True, False], [True, True, True]])
        >>> pack_samples(torch.zeros(2, 3, 8), keep).sample_ids
        tensor([[1, 1, 2, 2, 2]])
    """
    ids_BL = torch.arange(1, len(keep) + 1, device=keep.device)[:, None].expand_as(keep)
    return PackedRow(
        embeds=embeds[keep][None],
        keep=keep[keep][None],
        labels=None if labels is None else labels[keep][None],
        sample_ids=ids_BL[keep][None],
    )


def number_runs(sample_ids: Tensor, keep: Tensor) -> Tensor:
    """Number the samples of every row in order, from 1; padding counts as a sample of its own.

    Args:
        sample_ids: int64 ``[B, L]``; neighbours with the same number belong to one sample.
        keep: Bool ``[B, L]``; ``True`` marks a real token.

    Returns:
        int64 ``[B, L]``.

    Raises:
        AlignmentError: If the two differ in shape.

    Examples:
        >>> ids = torch.tensor([[7, 7, 2, 2, 0]])
        >>> number_runs(ids, ids > 0)
        tensor([[1, 1, 2, 2, 3]])
    """
    if sample_ids.shape != keep.shape:
        raise AlignmentError(
            f"sample_ids is {tuple(sample_ids.shape)}, but the rows are {tuple(keep.shape)}; every token needs the "
            "number of its sample"
        )
    # sample ids may be any integers, so padding gets one below the smallest
    ids_BL = torch.where(keep, sample_ids, sample_ids.amin() - 1)
    return starts_of(ids_BL).cumsum(1)


def starts_of(sample_ids: Tensor) -> Tensor:
    """Mark the first token of each sample: bool ``[B, L]`` from sample ids, int64 ``[B, L]``."""
    starts_BL = torch.ones_like(sample_ids, dtype=torch.bool)
    starts_BL[:, 1:] = sample_ids[:, 1:] != sample_ids[:, :-1]
    return starts_BL


def positions_of(sample_ids: Tensor) -> Tensor:
    """Position of every token in its own sample, from 0: int64 ``[B, L]``.

    At column t the position is ``t - s(t)``, where s(t) is the last column up to t in which a sample begins: the
    running maximum of the starting columns.

    Examples:
        >>> positions_of(torch.tensor([[1, 1, 1, 2, 2]]))
        tensor([[0, 1, 2, 0, 1]])
    """
    place_BL = torch.arange(sample_ids.shape[1], device=sample_ids.device).expand_as(sample_ids)
    first_BL = torch.where(starts_of(sample_ids), place_BL, 0).cummax(1).values
    return place_BL - first_BL


def lengths_of(sample_ids: Tensor) -> list[int]:
    """Length of every sample, row by row.

    Examples:
        >>> lengths_of(torch.tensor([[1, 1, 1, 2, 2]]))
        [3, 2]
    """
    return [int(n) for row in sample_ids for n in torch.unique_consecutive(row, return_counts=True)[1]]


def block_mask(sample_ids: Tensor) -> Tensor:
    """Attention mask under which a token attends to itself and to the earlier tokens of its own sample only.

    Args:
        sample_ids: int64 ``[B, L]``, as ``number_runs`` gives it.

    Returns:
        Bool ``[B, 1, L, L]``: ``True`` where the token of row i attends to the token of column j, that is where j <= i
        and ``sample_ids[i] == sample_ids[j]``.
    """
    length = sample_ids.shape[1]
    same_BLL = sample_ids[:, :, None] == sample_ids[:, None, :]
    earlier_LL = torch.ones(length, length, dtype=torch.bool, device=sample_ids.device).tril()
    return (same_BLL & earlier_LL)[:, None]


def hide_first_labels(labels: Tensor, sample_ids: Tensor) -> Tensor:
    """Labels ``[B, L]``, int64, with -100 at each sample's first token, since no token of its sample predicts it."""
    return labels.masked_fill(starts_of(sample_ids), IGNORE)
