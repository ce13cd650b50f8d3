"""Lists which groups of the wheels are pleasant and which are unpleasant."""

from __future__ import annotations

from collections.abc import Mapping

# Level-1 groups of the official and the built-in wheels; groups that are not listed (surprise, anticipation) are
# neither.
_PLEASANT = (
    *("happy", "joyful", "joy", "love", "peaceful", "powerful", "genius", "trust", "amusement", "pride", "pleasure"),
    *("contentment", "admiration", "relief", "compassion", "interest"),
)
_UNPLEASANT = (
    *("sad", "sadness", "mad", "angry", "anger", "bad", "scared", "fearful", "fear", "disgusted", "disgust"),
    *("disappointment", "shame", "guilt", "contempt", "hate"),
)
_VALENCE: Mapping[str, int] = {**dict.fromkeys(_PLEASANT, 1), **dict.fromkeys(_UNPLEASANT, -1)}


def group_valence(group: str) -> int:
    """1 for a pleasant group, -1 for an unpleasant one, 0 for neither."""
    return _VALENCE.get(group, 0)
