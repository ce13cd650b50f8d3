"""The emotion wheel: which group a label belongs to, in five wheels and two levels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectgpt.errors import ConfigError
from affectgpt.metrics.wheel.grouping import Grouping
from affectgpt.metrics.wheel.valence import group_valence
from affectgpt.text import clean_label, clean_name

NEUTRAL = "neutral"
"""A label that is in no wheel; mode ``strict`` makes it a group of its own."""


@dataclass(frozen=True, eq=False, repr=False)
class EmotionWheel:
    """An immutable vocabulary of emotion labels, sorted into the groups of several wheels.

    Attributes:
        name: Name that every score records: ``builtin``, ``official-2025``, ``official-2026``, ...
        labels: Known labels, lower-case.
        groupings: ``wheel{w}_level{l}`` for every wheel and level, and further ways to sort the same labels.
        kin: int32 ``[num_labels]``: labels with the same number are forms of one word. Mode ``strict`` compares labels
            without a group by it.

    Examples:
        >>> wheel = EmotionWheel.builtin()
        >>> wheel.group("overjoyed"), wheel.group("Furious", wheel=3), wheel.group("table")
        ('happy', 'mad', None)
        >>> wheel.valence("grateful"), wheel.knows("gratefully")
        ('positive', True)
    """

    name: str
    labels: tuple[str, ...]
    groupings: Mapping[str, Grouping]
    kin: npt.NDArray[np.int32]
    _index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.kin.setflags(write=False)
        object.__setattr__(self, "_index", {label: i for i, label in enumerate(self.labels)})

    @classmethod
    def builtin(cls) -> EmotionWheel:
        """The library's own vocabulary: five published taxonomies, widened by public word lists; see docs/wheel.md."""
        return _builtin()

    @classmethod
    def official(
        cls, folder: str | os.PathLike[str] | None = None, *, verify: bool = True, url: str | None = None
    ) -> EmotionWheel:
        """Read the word tables of the AffectGPT authors, with which the published figures were computed.

        They are compiled once; the result is saved in the cache folder (``AFFECTGPT_CACHE``, or the user's).

        Args:
            folder: Folder that holds ``wheel1.xlsx`` to ``wheel5.xlsx``, ``synonym.xlsx`` and ``format.csv``, or
                ``wheel_mapping.npz`` of MER2026; by default the environment variable ``AFFECTGPT_WHEEL_FOLDER``, or
                else the cache folder, which is filled from the authors' repository.
            verify: Whether to refuse tables that differ from the published ones; ``False`` accepts them under the name
                ``official-modified``.
            url: URL to fetch the tables from; by default the environment variable ``AFFECTGPT_WHEEL_URL``, or else the
                authors' repository. The fetched files must equal the published ones byte for byte.

        Raises:
            ConfigError: If openpyxl, or pooch if files must be fetched, is not installed.
            DataError: If a file is missing, unreadable or cannot be fetched, or the tables were altered.
        """
        from affectgpt.metrics.wheel.official_tables import read_official

        name, labels, groupings, kin = read_official(folder, verify=verify, url=url)
        return cls(name, labels, groupings, kin)

    def digest(self) -> str:
        """Sha256 of the vocabulary's content, in hex: two wheels of one digest score alike."""
        content = hashlib.sha256("\0".join(self.labels).encode())
        for name in sorted(self.groupings):
            grouping = self.groupings[name]
            content.update("\0".join((name, *grouping.groups)).encode())
            content.update(np.ascontiguousarray(grouping.codes, "<i2").tobytes())
        content.update(np.ascontiguousarray(self.kin, "<i4").tobytes())
        return content.hexdigest()

    @property
    def num_wheels(self) -> int:
        """Number of wheels."""
        return sum(key.endswith("_level1") for key in self.groupings)

    def grouping(self, wheel: int = 1, level: int = 1) -> Grouping:
        """The groups of one wheel at one level.

        Raises:
            ConfigError: If the wheel or the level does not exist.
        """
        key = f"wheel{wheel}_level{level}"
        if key not in self.groupings:
            known = ", ".join(k for k in self.groupings if k.startswith("wheel"))
            raise ConfigError(f"wheel {wheel} level {level} does not exist in {self.name!r}; it has {known}")
        return self.groupings[key]

    def group(self, label: str, wheel: int = 1, level: int = 1) -> str | None:
        """The group of a label, or ``None`` if the label has none.

        Args:
            label: Any label; case and outer spaces do not matter.
            wheel: 1 to ``num_wheels``.
            level: 1 (the inner ring) or 2.

        Raises:
            ConfigError: If the wheel or the level does not exist.
        """
        grouping = self.grouping(wheel, level)
        found = self.find(label)
        code = -1 if found is None else int(grouping.codes[found])
        return None if code < 0 else grouping.groups[code]

    def find(self, label: str, *, fold: bool = False) -> int | None:
        """The label's index in ``labels``, or ``None``.

        Args:
            label: Any label; case, outer spaces and invisible characters do not matter.
            fold: Whether to also try it with full-width and similar letters replaced by plain ones, and with hyphens,
                underscores and spaces exchanged or left out.
        """
        plain = label.lower().strip()
        found = self._index.get(plain)
        if found is None and not plain.isascii():
            plain = (clean_label if fold else clean_name)(label).lower()
            found = self._index.get(plain)
        if found is None and fold:
            pieces = plain.replace("-", " ").replace("_", " ").split()
            found = next((self._index[v] for j in (" ", "-", "") if (v := j.join(pieces)) in self._index), None)
        return found

    def knows(self, label: str) -> bool:
        """Whether the label is in the vocabulary."""
        return self.find(label) is not None

    def valence(self, label: str) -> Literal["positive", "negative", "neutral"] | None:
        """Whether a label's level-1 groups are mostly pleasant, mostly unpleasant or neither; ``None`` if unknown."""
        if clean_label(label).lower() == NEUTRAL:
            return "neutral"
        groups = [self.group(label, wheel) for wheel in range(1, self.num_wheels + 1)]
        known = [group_valence(group) for group in groups if group is not None]
        if not known:
            return None
        # At least half of the wheels must agree: "surprised" is pleasant in one of them only.
        if 2 * abs(sum(known)) < len(known):
            return "neutral"
        return "positive" if sum(known) > 0 else "negative"

    def __repr__(self) -> str:
        return f"EmotionWheel({self.name!r}, {len(self.labels)} labels, {self.num_wheels} wheels)"

    def __deepcopy__(self, memo: dict[int, Any]) -> EmotionWheel:
        # Immutable, so copies of a metric share it.
        return self


@lru_cache(maxsize=1)
def _builtin() -> EmotionWheel:
    import json

    folder = Path(__file__).with_name("data")
    taxonomies = json.loads((folder / "wheels.json").read_text(encoding="utf-8"))
    families: list[str] = taxonomies["families"]
    rows = [line.split("\t") for line in (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()]
    position = {family: i for i, family in enumerate(families)}
    kin = np.array([position[row[1]] for row in rows], dtype=np.int32)
    groupings = {}
    for key, placed in taxonomies["wheels"].items():
        groups = tuple(sorted(set(placed.values())))
        of_family = [groups.index(placed[f]) if f in placed else -1 for f in families]
        groupings[key] = Grouping(groups, np.array(of_family, dtype=np.int16)[kin])
    return EmotionWheel("builtin", tuple(row[0] for row in rows), groupings, kin)


def check_wheel(wheel: object) -> EmotionWheel:
    """Return the wheel if it is an ``EmotionWheel``.

    Raises:
        ConfigError: If it is anything else.
    """
    if not isinstance(wheel, EmotionWheel):
        raise ConfigError(f"wheel is {wheel!r}; pass EmotionWheel.builtin() or EmotionWheel.official(folder)")
    return wheel


def as_samples(values: Sequence[Any]) -> Sequence[Any]:
    """Return the samples if they are a sequence of answers.

    Raises:
        ConfigError: If they are a single text.
    """
    if isinstance(values, str):
        raise ConfigError(f"got the text {values[:60]!r}; expected a sequence with one list of labels per sample")
    return values
