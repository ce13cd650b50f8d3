"""Build the built-in emotion vocabulary: seed families widened by WordNet synonyms and English morphology.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    pip install lemminflect==0.2.3
    python tools/build_wheel_vocabulary.py --wordnet wordnet/usr/share/wordnet

Reads ``wheel_families.txt`` and ``wheel_taxonomies.txt`` beside it; writes ``labels.tsv`` and ``wheels.json`` into the
package. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lemminflect

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "affectgpt" / "metrics" / "wheel" / "data"
NUM_WHEELS = 5
# Lexicographer files of WordNet (lexnames(5WN)) in which a noun or verb is likely to name a feeling or its owner's
# manner: noun.attribute, noun.feeling, noun.state, verb.emotion. Adjectives (00, 01, 44) and adverbs (02) all count.
FEELING_FILES = {"00", "01", "02", "44", "07", "12", "26", "37"}
# How far a word is from a seed; a candidate beyond LIMIT is left out. At this limit a word is a derivation (happiness
# of happy) of a seed, a synonym of it in its first sense, or a derivation of such a synonym. Hyponyms and "similar"
# adjectives were tried: they more than double the list, mostly with words that name no feeling.
DERIVED, SYNONYM, LIMIT = 0.25, 1.0, 1.25
RELATIONS = {"+": DERIVED, "\\": DERIVED}
MAX_SENSES = 3
SENSE_PENALTY = 0.3
UPOS = {"n": "NOUN", "v": "VERB", "a": "ADJ", "r": "ADV"}


@dataclass(frozen=True)
class Synset:
    """One meaning: its lexicographer file, its words, its pointers (relation, synset key, source and target word)."""

    lexfile: str
    words: tuple[str, ...]
    pointers: tuple[tuple[str, tuple[str, int], int, int], ...]


class WordNet:
    """The four data and index files of a WordNet 3.0 ``dict`` folder (format: wndb(5WN))."""

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[tuple[str, int], Synset] = {}
        self.senses: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for pos, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
            for line in (folder / f"data.{name}").read_text(encoding="latin-1").splitlines():
                if not line.startswith("  "):
                    self.synsets[pos, int(line[:8])] = self._synset(line)
            for line in (folder / f"index.{name}").read_text(encoding="latin-1").splitlines():
                if not line.startswith("  "):
                    lemma, _, num_senses, *rest = line.split()
                    self.senses[plain(lemma), pos] = [(pos, int(x)) for x in rest[-int(num_senses) :]]

    @staticmethod
    def _synset(line: str) -> Synset:
        cells = line.split(" | ")[0].split()
        count = int(cells[3], 16)
        words = tuple(plain(cells[4 + 2 * i]) for i in range(count))
        at = 4 + 2 * count
        pointers = []
        for i in range(int(cells[at])):
            kind, offset, pos, ends = cells[at + 1 + 4 * i : at + 5 + 4 * i]
            key = ("a" if pos == "s" else pos, int(offset))
            pointers.append((kind, key, int(ends[:2], 16), int(ends[2:], 16)))
        return Synset(cells[1], words, tuple(pointers))

    def neighbours(self, word: str) -> Iterator[tuple[str, float]]:
        """Words near a word, each with its distance; rarer senses are farther."""
        for pos in "nvar":
            keys = self.senses.get((word, pos), [])[:MAX_SENSES]
            for rank, key in enumerate(keys):
                synset = self.synsets[key]
                feeling = synset.lexfile in FEELING_FILES
                penalty = SENSE_PENALTY * rank
                if feeling:
                    for other in synset.words:
                        yield other, SYNONYM + penalty
                for kind, target, source_word, target_word in synset.pointers:
                    if kind not in RELATIONS:
                        continue
                    if source_word:
                        if synset.words[source_word - 1] == word:
                            yield self.synsets[target].words[target_word - 1], RELATIONS[kind] + penalty
                    elif feeling and self.synsets[target].lexfile in FEELING_FILES:
                        for other in self.synsets[target].words:
                            yield other, RELATIONS[kind] + penalty

    def adverbs(self) -> Iterator[tuple[str, str]]:
        """Every adverb with the adjective that it is made of."""
        for (pos, _), synset in self.synsets.items():
            if pos == "r":
                for kind, target, source_word, target_word in synset.pointers:
                    if kind == "\\" and source_word:
                        yield synset.words[source_word - 1], self.synsets[target].words[target_word - 1]


def plain(lemma: str) -> str:
    """A WordNet lemma as a label: lower-case, spaces, without the marker of an adjective's position."""
    return lemma.split("(")[0].replace("_", " ").lower()


def read_table(path: Path, separator: str) -> dict[str, list[str]]:
    """Lines ``name <separator> rest``, comments left out."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    return {name.strip(): [c.strip() for c in rest] for name, *rest in (line.split(separator) for line in lines)}


def nearest(candidates: dict[str, dict[str, float]]) -> dict[str, tuple[str, float]]:
    """Each word's family: the nearest; of equally near ones the first by name."""
    return {word: min(of.items(), key=lambda item: (item[1], item[0])) for word, of in candidates.items()}


def widen(placed: dict[str, tuple[str, float]], net: WordNet, adverbs: dict[str, list[str]]) -> None:
    """Add the words within LIMIT of the placed ones, nearest first."""
    frontier = dict(placed)
    while frontier:
        candidates: dict[str, dict[str, float]] = defaultdict(dict)
        for word, (family, distance) in sorted(frontier.items()):
            near = [*net.neighbours(word), *((adverb, DERIVED) for adverb in adverbs.get(word, []))]
            for other, step in near:
                total = distance + step
                if other not in placed and total <= LIMIT and not other[0].isdigit():
                    candidates[other][family] = min(total, candidates[other].get(family, LIMIT))
        frontier = nearest(candidates)
        placed.update(frontier)


def inflections(word: str, net: WordNet) -> Iterable[str]:
    """Inflected forms, for the parts of speech in which WordNet knows the word."""
    for pos, upos in UPOS.items():
        if (word, pos) in net.senses:
            for forms in lemminflect.getAllInflections(word, upos=upos).values():
                yield from forms


def spellings(word: str) -> Iterable[str]:
    """The word with its hyphens as spaces, or joined."""
    if "-" in word:
        yield from (word.replace("-", " "), word.replace("-", ""))


def build(wordnet: Path) -> tuple[str, str]:
    """The texts of ``labels.tsv`` and ``wheels.json``."""
    net = WordNet(wordnet)
    families = {name: cells[0].split() for name, cells in read_table(HERE / "wheel_families.txt", ":").items()}
    taxonomies = read_table(HERE / "wheel_taxonomies.txt", "|")
    assert list(families) == list(taxonomies), "the two tables must list the same families in the same order"
    adverbs: dict[str, list[str]] = defaultdict(list)
    for adverb, adjective in net.adverbs():
        adverbs[adjective].append(adverb)
    placed = {seed: (family, 0.0) for family, seeds in families.items() for seed in seeds}
    # Inflections of seeds are seeds: "worries" must not be found as a synonym of something else.
    for seed, (family, _) in sorted(placed.items()):
        for form in inflections(seed, net):
            placed.setdefault(form, (family, 0.1))
    widen(placed, net, adverbs)
    for word, (family, distance) in sorted(placed.items(), key=lambda item: (item[1][1], item[0])):
        for form in [*inflections(word, net), *spellings(word)]:
            placed.setdefault(form, (family, distance + 0.1))
    labels = "".join(f"{word}\t{family}\n" for word, (family, _) in sorted(placed.items()))
    wheels: dict[str, dict[str, str]] = {}
    for wheel in range(NUM_WHEELS):
        rings = {f: cells[wheel].split(" > ") for f, cells in taxonomies.items() if cells[wheel] != "-"}
        wheels[f"wheel{wheel + 1}_level1"] = {f: ring[0] for f, ring in rings.items()}
        wheels[f"wheel{wheel + 1}_level2"] = {f: ring[1] for f, ring in rings.items()}
    return labels, json.dumps({"families": list(families), "wheels": wheels}, indent=1) + "\n"


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun, index.noun, ...")
    parser.add_argument("--target", type=Path, default=TARGET)
    args = parser.parse_args()
    args.target.mkdir(parents=True, exist_ok=True)
    for name, text in zip(("labels.tsv", "wheels.json"), build(args.wordnet), strict=True):
        temporary = args.target / f".{name}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(args.target / name)
        print(f"{args.target / name}: {len(text.splitlines())} lines, {len(text.encode()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
