"""Checkpoints in the format in which the AffectGPT authors released theirs, read and written."""
