"""Trains the demo's encoders to tell the label sets apart, before they are frozen in front of the LLM.

It stands in for what CLIP and HuBERT bring to the published model: encoders that can already see and hear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import DataError
from affectgpt.fusion.pooling import MeanPooling
from affectgpt.model import AffectGPT
from affectgpt.types import Batch


class EncoderPretraining(lightning.LightningModule):
    """Classifies the label set of a clip from its streams, without words and without the LLM.

    Args:
        model: The model whose encoders are trained, in place; nothing else of it is.
        label_sets: Every label set of the training clips.
        hidden_dim: Width of the classifier.
        lr: Learning rate.
    """

    def __init__(
        self, model: AffectGPT, label_sets: Sequence[tuple[str, ...]], hidden_dim: int = 128, lr: float = 1e-3
    ) -> None:
        super().__init__()
        self.sources: Mapping[str, str] = {name: str(spec.source) for name, spec in model.specs.items()}
        self.encoders = model.encoders
        widths = {name: model.encoder(name).out_dim for name in model.specs}
        self.poolings = nn.ModuleDict({name: MeanPooling(width) for name, width in widths.items()})
        self.class_of = {labels: i for i, labels in enumerate(sorted(set(label_sets)))}
        self.head = nn.Sequential(
            nn.Linear(sum(widths.values()), hidden_dim), nn.GELU(), nn.Linear(hidden_dim, len(self.class_of))
        )
        self.lr = lr

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the label sets, float ``[B, num_label_sets]``."""
        pooled = []
        for name, encoder in self.encoders.items():
            source = self.sources[name]
            pooled.append(self.poolings[name](encoder(batch.media[source], batch.keep[source]))[:, 0])
        logits: Tensor = self.head(torch.cat(pooled, dim=-1))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of the label sets.

        Raises:
            DataError: If a clip has a label set that was not announced.
        """
        unknown = [key for key, labels in zip(batch.keys, batch.labels, strict=True) if labels not in self.class_of]
        if unknown:
            raise DataError(f"clip {unknown[0]!r} has labels that no training clip was said to have")
        target = torch.tensor([self.class_of[labels] for labels in batch.labels], device=self.device)
        return F.cross_entropy(self(batch), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over encoders and classifier."""
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), lr=self.lr, weight_decay=0.05)
