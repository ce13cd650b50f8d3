"""Decoding: the packets of a file become the frames and the waveform that a profile asks for."""
