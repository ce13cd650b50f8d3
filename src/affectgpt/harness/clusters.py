"""Says which clips of a test set share a dialogue or a speaker, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping

_DIALOGUE = re.compile(r"(?:test_)?(dia\d+)_utt\d+")
_IEMOCAP = re.compile(r"(Ses\d\d[FM]_\w+)_[FM]\w*\d+")
_VIDEO = re.compile(r"(.+)_\d+")

_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "meld": _DIALOGUE,
    "iemocap": _IEMOCAP,
    "mosi": _VIDEO,
    "mosei": _VIDEO,
    "sims": _VIDEO,
    "simsv2": _VIDEO,
}
"""Where the dialogue or video stands in the names of a set. Those of MER2023, MER2024 and OV-MERD+ are bare numbers."""


def cluster_of(set_name: str, key: str) -> str | None:
    """The dialogue or video that a clip belongs to; ``None`` where its name does not say.

    Args:
        set_name: The test set.
        key: The clip's name.

    Examples:
        >>> cluster_of("meld", "test_dia12_utt3"), cluster_of("iemocap", "Ses05F_impro01_M004")
        ('dia12', 'Ses05F_impro01')
        >>> cluster_of("mosi", "03bSnISJMiM_7"), cluster_of("sims", "video_0001_0003"), cluster_of("mer2023", "s_1")
        ('03bSnISJMiM', 'video_0001', None)
    """
    pattern = _PATTERNS.get(set_name)
    found = None if pattern is None else pattern.fullmatch(key)
    return found.group(1) if found else None
