"""The limits of media files: checked before memory is allocated, and named in the error of a larger file."""

from __future__ import annotations

from affectgpt.errors import MediaError

MAX_FILE_BYTES = 16 * 1024**3
"""Size of a file that is read from its path, 16 GiB; films are smaller, but a sparse file may claim any size."""
MAX_LOADED_BYTES = 2 * 1024**3
"""Size of a file that is read into memory as a whole, as packing does, 2 GiB."""
MAX_PIXELS = 178_956_970
"""Pixels of a picture or a video frame: the limit at which Pillow refuses pictures too."""
MAX_FRAMES_BYTES = 2 * 1024**3
"""All frames of a clip together, 2 GiB."""
MAX_CHANNELS = 64
"""Channels of a sound: the most that libswresample can resample."""
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
"""Samples per second of a stored sound."""
MAX_SOUND_SECONDS = 24 * 3600.0
"""Longest sound that is read, a day."""
MAX_WHOLE_SAMPLES = 2 * 3600 * 16_000
"""Samples of a waveform that is kept whole, after resampling: two hours at 16 kHz, 461 MB.

If only the windows for a model are needed, these are kept of a longer sound.
"""
MAX_RAW_SOUND_BYTES = 8 * 1024**2
"""Decoded sound that is resampled at once by the published method, 8 MiB; longer sound is resampled in blocks.

The convolution copies its input once for each tap of the filter, 15 times and more.
"""
MAX_PACKETS = 2_000_000
"""Packets of a video whose time stamps are kept: 18 hours at 30 frames per second."""
MAX_WORKER_BYTES = 4 * 1024**3
"""Memory that decoding one file may take in a worker process, 4 GiB; see ``affectgpt.media.isolation``."""


def too_large(name: str, what: str, limit: str) -> MediaError:
    """The error for a file that is beyond a limit.

    Args:
        name: The file, for the message.
        what: What is too large, as a clause: ``"has 255 channels"``.
        limit: Name of the limit in this module.
    """
    return MediaError(f"{name} {beyond(what, limit)}; convert it, or leave it out", "too_large")


def beyond(what: str, limit: str) -> str:
    """The same as a clause, for one track of a file with several."""
    return f"{what}, but the limit is {globals()[limit]:,} (affectgpt.media.limits.{limit})"
