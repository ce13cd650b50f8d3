"""Weighted F1 and accuracy of a table of true by predicted class."""

from __future__ import annotations

from torch import Tensor


def table_scores(tables: Tensor) -> tuple[Tensor, Tensor]:
    """F1 of each class weighted by its true share, and accuracy; 0/0 is 0.

    It is ``f1_score(average="weighted")`` and ``accuracy_score`` of scikit-learn.

    Args:
        tables: float ``[..., C, >= C]``: samples by true class (rows) and predicted class (columns); columns beyond C
            are answers that name no class, and count as wrong.

    Returns:
        Weighted F1 and accuracy, float ``[...]`` each.

    Examples:
        >>> import torch
        >>> f1, accuracy = table_scores(torch.tensor([[3.0, 1.0], [0.0, 4.0]]))
        >>> round(float(f1), 3), float(accuracy)
        (0.873, 0.875)
    """
    num_classes = tables.shape[-2]
    right = tables[..., :num_classes].diagonal(dim1=-2, dim2=-1)
    support, predicted = tables.sum(-1), tables[..., :num_classes].sum(-2)
    f1 = (2 * right / (support + predicted)).nan_to_num(0.0)
    total = support.sum(-1).clamp(min=1)
    return (f1 * support).sum(-1) / total, right.sum(-1) / total
