"""Resampling a waveform, and cutting it into segments."""
