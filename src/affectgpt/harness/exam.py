"""The clips of test sets as a harness is given them: names, files, words, gold labels and the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.bench.answerers.asked_words import LABEL_QUESTION, words_for
from affectgpt.bench.answerers.base import Asked
from affectgpt.datamodules.unibench import find_sets, read_set
from affectgpt.datamodules.unibench.sets import TEST_SETS, get_test_set
from affectgpt.errors import ConfigError, DataError
from affectgpt.harness.clusters import cluster_of

DATA_VARIABLE = "AFFECTGPT_UNIBENCH"
"""Names the folders of the test sets where no argument does; several are separated as in ``PATH``."""


@dataclass(frozen=True)
class Item:
    """One clip of a test set.

    Attributes:
        set_name: The test set.
        name: The clip's name.
        gold: The true label, the true score, or the text of a list of labels.
        subtitle: What is said; empty where nothing is, or it is not known.
        video: The clip, or ``None``.
        audio: A sound file of its own, or ``None``.
        cluster: Its dialogue or video, or ``None``.
    """

    set_name: str
    name: str
    gold: str | float
    subtitle: str
    video: Path | None
    audio: Path | None
    cluster: str | None

    @property
    def question(self) -> str:
        """What is asked, in the published wording, without the slots that only our models have."""
        return ask(self.subtitle)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with absolute paths; what is absent is an empty text."""
        return {
            "set": self.set_name,
            "name": self.name,
            "gold": self.gold,
            "subtitle": self.subtitle,
            "question": self.question,
            "video": "" if self.video is None else str(self.video.resolve()),
            "audio": "" if self.audio is None else str(self.audio.resolve()),
            "cluster": self.cluster or "",
        }


def ask(subtitle: str) -> str:
    """The published question for any model, with the spoken words where there are some.

    Examples:
        >>> ask("").startswith("Now, please answer my question based on all the provided information. Please recognize")
        True
        >>> ask("Oh no!")[:65]
        'The subtitle of this video is: <Subtitle>Oh no!</Subtitle>. Now, '
    """
    return words_for(Asked("", LABEL_QUESTION, subtitle=subtitle), ("text",))


def read_items(
    data: Sequence[str | Path], sets: Sequence[str] = (), *, allow_partial: bool = False, subtitles: bool = True
) -> dict[str, list[Item]]:
    """Read the clips of test sets.

    Args:
        data: Folders of test sets, as ``affectgpt bench --data`` takes them.
        sets: Names of the sets; by default all that are found.
        allow_partial: Take sets that differ from the published split.
        subtitles: ``False`` leaves the spoken words out.

    Returns:
        By name of the set, in the order of the benchmark.

    Raises:
        ConfigError: If a set does not exist, or no folder was given.
        DataError: If a set is missing or damaged, or differs from the published split.
    """
    if not data:
        raise ConfigError(
            f"no data: name the folders of the test sets with data, or in the variable {DATA_VARIABLE}; "
            "affectgpt bench --list says what they look like"
        )
    gone = [str(folder) for folder in data if not Path(folder).exists()]
    if gone:
        raise DataError(f"{', '.join(gone)} does not exist; expected folders of test sets")
    found = find_sets(data)
    wanted = [get_test_set(name).name for name in sets] or list(found)
    if not wanted:
        raise DataError(f"no test set in {', '.join(map(str, data))}; affectgpt bench --list says what they look like")
    items = {}
    for name in sorted(wanted, key=list(TEST_SETS).index):
        read = read_set(name, data, allow_partial=allow_partial)
        items[name] = [
            Item(
                name,
                one.key,
                one.gold,
                (one.subtitle or "") if subtitles else "",
                one.video,
                one.audio,
                cluster_of(name, one.key),
            )
            for one in read.samples
        ]
    return items
