"""What the verbs share: a quiet terminal, and the choice of a device."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Silence notes and progress bars that tell a user of the command line nothing; errors still come through."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",
        ".*does not have many workers",
        ".*module\\(s\\) in eval mode",
        "Total length of `list` across ranks is zero",
        ".*isinstance\\(treespec, LeafSpec\\)",
        ".*is_gradient_checkpointing",
        ".*GPU available but not used",
    ):
        warnings.filterwarnings("ignore", message=message)


def pick_device(name: str) -> str:
    """The device of that name; ``auto`` is the first GPU, or else the processor."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
