"""Runs the frozen encoders of a model once over shards, and stores what they give."""

from __future__ import annotations

from affectgpt.encoding.encoder_set import EncoderSet
from affectgpt.encoding.run import EncodeReport, encode

__all__ = ["EncodeReport", "EncoderSet", "encode"]
