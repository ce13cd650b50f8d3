"""How large a media file may be: judged before memory is taken, and named in the error of a file that is larger."""

from __future__ import annotations

from affectgpt.errors import MediaError

MAX_FILE_BYTES = 16 * 1024**3
"""Size of a file that is read from its path, 16 GiB: a film is smaller, and a sparse file of 30 GB holds nothing."""
MAX_LOADED_BYTES = 2 * 1024**3
"""Size of a file that is read into memory as a whole, as packing does, 2 GiB."""
MAX_PIXELS = 178_956_970
"""Pixels of a picture or a video frame: where Pillow, too, refuses to go on."""
MAX_FRAMES_BYTES = 2 * 1024**3
"""All frames of a clip together, 2 GiB."""
MAX_CHANNELS = 64
"""Channels of a sound: what libswresample can resample."""
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
"""Samples a second of a sound, as it is stored."""
MAX_SOUND_SECONDS = 24 * 3600.0
"""Length of a sound that is read at all, a day."""
MAX_WHOLE_SAMPLES = 2 * 3600 * 16_000
"""Samples of a waveform that is held as a whole, after resampling: two hours at 16 kHz, 461 MB.

Of a longer sound only the windows that a model is given are kept, where nothing more is asked for.
"""
MAX_RAW_SOUND_BYTES = 8 * 1024**2
"""Decoded sound that waits for the resampling of the published code, 8 MiB; longer sound is resampled in blocks.

The convolution copies its input once for each tap of the filter, 15 times and more.
"""
MAX_PACKETS = 2_000_000
"""Packets of a video whose time stamps are held: 18 hours at 30 frames a second."""
MAX_WORKER_BYTES = 4 * 1024**3
"""Memory that decoding one file may take in a process of its own, 4 GiB; see ``affectgpt.media.isolation``."""


def too_large(name: str, what: str, limit: str) -> MediaError:
    """The error of a file that is beyond a limit.

    Args:
        name: The file, for the message.
        what: What it has too much of, as a sentence part: ``"has 255 channels"``.
        limit: Name of the limit in this module.
    """
    return MediaError(f"{name} {beyond(what, limit)}; convert it, or leave it out", "too_large")


def beyond(what: str, limit: str) -> str:
    """The same as a part of a sentence, for a track of a file that has others."""
    return f"{what}, but the limit is {globals()[limit]:,} (affectgpt.media.limits.{limit})"
