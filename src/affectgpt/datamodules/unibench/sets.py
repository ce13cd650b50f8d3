"""The nine test sets of MER-UniBench (Lian et al. 2025, table 11), as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from affectgpt.errors import ConfigError, did_you_mean

Task = Literal["discrete", "sentiment", "open"]


@dataclass(frozen=True)
class TestSet:
    """One test set.

    Attributes:
        name: Name in ``affectgpt.bench.score``.
        title: Name in papers.
        task: ``discrete`` (one label, hit rate), ``sentiment`` (a signed score, weighted F1) or ``open`` (a list of
            labels, wheel F1).
        num_samples: Size of the published test split.
        split: Name of the published test split.
        language: Language of the spoken words: ``en`` or ``zh``.
        source: Where to get the data.
        labels: Every gold label of a discrete set, in the order of the authors' numbers.
        gold_range: Lowest and highest gold score of a sentiment set.
        aliases: Further names in file and folder names, plain letters and digits.
    """

    __test__ = False  # else pytest would collect it, because of its name

    name: str
    title: str
    task: Task
    num_samples: int
    split: str = ""
    language: str = "en"
    source: str = ""
    labels: tuple[str, ...] = ()
    gold_range: tuple[float, float] | None = None
    aliases: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """Name of the figure that the benchmark reports for the set."""
        return {"discrete": "hit_rate", "sentiment": "weighted_f1", "open": "f1"}[self.task]


# two labels have two spellings
_MER_LABELS = ("neutral", "angry", "happy", "sad", "worried", "surprise", "worry", "surprised")
_PROCESSED = "the processed copies linked from the MER-UniBench section of github.com/zeroQiaoba/AffectGPT"

TEST_SETS: Mapping[str, TestSet] = {
    test_set.name: test_set
    for test_set in (
        TestSet(
            "mer2023",
            "MER2023",
            "discrete",
            411,
            "MER-MULTI (test1)",
            "zh",
            f"{_PROCESSED} (the challenge's licence must be signed: merchallenge.cn)",
            _MER_LABELS,
        ),
        TestSet(
            "mer2024",
            "MER2024",
            "discrete",
            1169,
            "MER-SEMI (test1)",
            "zh",
            f"{_PROCESSED} (the challenge's licence must be signed: huggingface.co/datasets/MERChallenge/MER2024)",
            _MER_LABELS,
        ),
        TestSet(
            "meld",
            "MELD",
            "discrete",
            2610,
            "test",
            "en",
            f"github.com/declare-lab/MELD (test_sent_emo.csv, MELD.Raw.tar.gz), or {_PROCESSED}",
            ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise"),
        ),
        TestSet(
            "iemocap",
            "IEMOCAP",
            "discrete",
            1241,
            "session 5, four classes",
            "en",
            f"sail.usc.edu/iemocap (on request), or {_PROCESSED}",
            ("happy", "sad", "neutral", "anger"),
            aliases=("iemocapfour",),
        ),
        TestSet(
            "mosi",
            "CMU-MOSI",
            "sentiment",
            686,
            "test",
            "en",
            f"github.com/thuiar/MMSA (Raw and label.csv), or {_PROCESSED}",
            gold_range=(-3.0, 3.0),
            aliases=("cmumosi",),
        ),
        TestSet(
            "mosei",
            "CMU-MOSEI",
            "sentiment",
            4659,
            "test",
            "en",
            f"github.com/thuiar/MMSA (Raw and label.csv), or {_PROCESSED}",
            gold_range=(-3.0, 3.0),
            aliases=("cmumosei",),
        ),
        TestSet(
            "sims",
            "CH-SIMS",
            "sentiment",
            457,
            "test",
            "zh",
            f"github.com/thuiar/MMSA (Raw and label.csv), or {_PROCESSED}",
            gold_range=(-1.0, 1.0),
            aliases=("chsims",),
        ),
        TestSet(
            "simsv2",
            "CH-SIMS v2",
            "sentiment",
            1034,
            "test",
            "zh",
            f"thuiar.github.io/sims.github.io/chsims (ch-simsv2s: Raw and meta.csv), or {_PROCESSED}",
            gold_range=(-1.0, 1.0),
            aliases=("chsimsv2", "chsimsv2s"),
        ),
        TestSet("ovmerdplus", "OV-MERD+", "open", 532, "all", "zh", _PROCESSED, aliases=("ovmerd",)),
    )
}


def find_test_set(name: str) -> TestSet | None:
    """Find the test set of that name, or ``None``; case, dashes and spaces do not matter.

    Examples:
        >>> [found.name for found in map(find_test_set, ("CMU-MOSI", "IEMOCAPFour", "OV-MERD+")) if found]
        ['mosi', 'iemocap', 'ovmerdplus']
    """
    plain = "".join(c for c in name.lower().replace("+", "plus") if c.isalnum())
    return next((one for one in TEST_SETS.values() if plain == one.name or plain in one.aliases), None)


def get_test_set(name: str) -> TestSet:
    """Get the test set of that name; case, dashes and spaces do not matter.

    Raises:
        ConfigError: If there is none.
    """
    found = find_test_set(name)
    if found is not None:
        return found
    hint = did_you_mean(name.lower(), TEST_SETS, most=2, cutoff=0.5)
    raise ConfigError(f"unknown test set {name!r}.{hint} Known: {', '.join(TEST_SETS)}")
