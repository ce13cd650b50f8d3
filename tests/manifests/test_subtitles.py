"""Subtitle files as people and programs write them give the words that were said, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectgpt.errors import DataError
from affectgpt.manifests.subtitles import read_subtitle

TIME = "00:00:00,000 --> 00:00:01,000"
LATER = "00:00:01,000 --> 00:00:02,000"


def read(folder: Path, suffix: str, text: str) -> str:
    path = folder / f"a.{suffix}"
    path.write_bytes(text.encode())
    return read_subtitle(path)


@pytest.mark.parametrize(
    "text",
    [
        f"1\n{TIME}\nI am fine.\n",
        f"\ufeff1\r\n{TIME}\r\nI am fine.\r\n",
        f"1\r{TIME}\rI am\r\rfine.",
        f"{TIME}\nI am\nfine.\n",
        "1\n00:00:00,000-->00:00:01,000\nI am fine.\n",
        "1\n00:00,000 --> 00:01,000\nI am fine.\n",
        "1\n00:00:00 --> 00:00:01\nI am fine.\n",
        "1\n0:00:00.0 --> 0:00:01.50\nI am fine.\n",
        f'1\n{TIME} X1:40 X2:600 Y1:20 Y2:50\n{{\\an8}}<i>I am</i> <font color="#ff0000">fine</font>.\n',
        f"2\n{LATER}\nfine.\n\n1\n{TIME}\nI am\n",
        f"1\n{TIME}\n\n2\n{LATER}\nI am fine.\n",
    ],
)
def test_legal_subrip_gives_its_words(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "srt", text) == "I am fine."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"1\n{TIME}\nHow old?\n\n2\n{LATER}\n42\n\n3\n{LATER}\nReally?\n", "How old? 42 Really?"),
        (f"1\n{TIME}\nI am\n42\n", "I am 42"),
        (f"{TIME}\nI am\n42\n\n{LATER}\n43\n", "I am 42 43"),
        (f"1\n{TIME}\nI am\n2\n{LATER}\n42\n3\n{LATER}\nyes", "I am 42 yes"),
        (f"1\n{TIME}\nI <3 you, a < b > c, AT&amp;T {{so}}\n", "I <3 you, a < b > c, AT&T {so}"),
        (f"1\n{TIME}\nfrom 10:30:00 to 10:40:00\n", "from 10:30:00 to 10:40:00"),
    ],
)
def test_spoken_numbers_and_signs_are_words(tmp_path: Path, text: str, words: str) -> None:
    assert read(tmp_path, "srt", text) == words


def test_webvtt_gives_its_words_without_names_comments_and_styles(tmp_path: Path) -> None:
    text = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

intro
00:00.000 --> 00:01.000 align:start position:0%
<v Ann>I &amp; you</v><00:00:00.500><c.yellow> are</c><00:00:00.700><c> fine.</c>

NOTE
not said

2
00:01.000 --> 00:02.000
NOTE that:
42
"""
    assert read(tmp_path, "vtt", text) == "I & you are fine. NOTE that: 42"


def test_substation_alpha_gives_its_words_without_comments(tmp_path: Path) -> None:
    text = """[Script Info]
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,fine,\\Nreally.
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not said
Dialogue: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,{\\i1}I am{\\i0}
"""
    assert read(tmp_path, "ass", text) == "I am fine, really."


@pytest.mark.parametrize("suffix", ["srt", "vtt", "ass"])
def test_a_file_without_words_has_none_and_one_without_times_is_refused(tmp_path: Path, suffix: str) -> None:
    assert read(tmp_path, suffix, "WEBVTT\n" if suffix == "vtt" else " \n") == ""
    with pytest.raises(DataError, match=rf"a\.{suffix}' has no line with times"):
        read(tmp_path, suffix, "just\nwords\n")
