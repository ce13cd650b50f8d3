"""Cleans text: unpaired surrogates, invisible characters, and different encodings of one letter."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

# Unicode's Default_Ignorable_Code_Point: invisible characters, such as the zero-width space, the soft hyphen, the byte
# order mark, marks of direction and Hangul fillers. The two joiners are treated separately.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # the others are white space to str.split
# Persian and Indic scripts and composed emoji are spelt with joiners; next to a Latin letter or at either end, a joiner
# is noise.
_STRAY_JOINER = re.compile("(?<![^\x00-\u024f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\u024f])")


def clean_text(text: str) -> str:
    r"""Make a text encodable: the halves of a surrogate pair are joined, an unpaired surrogate becomes U+FFFD.

    JavaScript and Java leave half an emoji when they cut a text by UTF-16 units; UTF-8 cannot encode it, and tokenizers
    refuse it.

    Examples:
        >>> clean_text("oh \ud83d\ude00"), clean_text("oh \ud83d")
        ('oh 😀', 'oh �')
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def clean_label(text: str) -> str:
    r"""Normalise a label: no invisible characters, one encoding of each letter (NFKC), single spaces.

    Two labels that look the same are then equal; upper case stays.

    Examples:
        >>> clean_label("\ufeffat\u00a0 ea\u00adse"), clean_label("re\u0301volte\u0301") == "r\u00e9volt\u00e9"
        ('at ease', True)
    """
    return text if _is_plain(text) else " ".join(_visible(text, "NFKC").split())


def clean_name(text: str) -> str:
    r"""Normalise a sample's name: no invisible characters, no white space around it, one encoding of each letter (NFC).

    macOS writes the letter ``é`` of a file name as two characters and other systems as one; a name in a table then
    matches neither the file nor another table, although all look the same.

    Examples:
        >>> clean_name(" \ufeffcafe\u0301_01\u200b ") == "caf\u00e9_01"
        True
    """
    return text.strip() if _is_plain(text) else _visible(text, "NFC").strip()


def mixed_scripts(text: str) -> str | None:
    r"""Find a word that mixes Latin, Greek and Cyrillic letters, which look alike.

    Returns:
        The scripts, such as ``"CYRILLIC and LATIN"``, or ``None`` if no word mixes them.

    Examples:
        >>> mixed_scripts("h\u0430ppy"), mixed_scripts("happy \u0440\u0430\u0434")
        ('CYRILLIC and LATIN', None)
    """
    if text.isascii():
        return None
    for word in text.split():
        scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in word if letter.isalpha()}
        mixed = sorted(scripts & {"LATIN", "GREEK", "CYRILLIC"})
        if len(mixed) > 1:
            return " and ".join(mixed)
    return None


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "  " not in text and text == text.strip()


def _visible(text: str, form: Literal["NFC", "NFKC"]) -> str:
    shown = _IGNORABLE.sub("", _CONTROL.sub("", clean_text(text)))
    return _STRAY_JOINER.sub("", unicodedata.normalize(form, shown))
