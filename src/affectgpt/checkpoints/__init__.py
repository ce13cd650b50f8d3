"""Checkpoint files: reads them safely, and compares them with a model."""

from __future__ import annotations

from affectgpt.checkpoints.gate import pass_gate
from affectgpt.checkpoints.io import compare_config, compare_keys, load_checkpoint

__all__ = ["compare_config", "compare_keys", "load_checkpoint", "pass_gate"]
