"""The journal of an unfinished packing: which shards are finished, and from which inputs, so that it can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.shards.index import ShardInfo

_FORMAT = "affectgpt-pack-journal"
_MODALITIES = ("video", "audio", "faces", "subtitle", "labels", "description")


@dataclass
class Counts:
    """Sums over the samples of one shard, or of a set.

    Attributes:
        labels: Label to the number of samples that have it.
        modalities: Modality to the number of samples that have it.
        seconds: Length of all clips together.
        noted: Number of samples with skipped media (``media_notes``) or changed manifest values (``manifest_notes``).
    """

    labels: Counter[str] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_MODALITIES, 0)))
    seconds: float = 0.0
    noted: int = 0

    def add(self, facts: Mapping[str, Any]) -> None:
        """Count a sample by the facts of its json member."""
        self.noted += bool(facts.get("media_notes") or facts.get("manifest_notes"))
        self.seconds += facts.get("duration_seconds") or 0.0
        self.labels.update(set(facts.get("labels") or ()))
        for name in _MODALITIES:
            self.modalities[name] += bool(facts.get(f"has_{name}", facts.get(name)))
        self.modalities.update(facts.get("source_files") or ())

    def merge(self, other: Counts) -> None:
        """Add the sums of other samples of the set."""
        self.labels.update(other.labels)
        self.modalities.update(other.modalities)
        self.seconds += other.seconds
        self.noted += other.noted

    def sorted_labels(self) -> dict[str, int]:
        """Labels, the most frequent first."""
        return dict(sorted(self.labels.items(), key=lambda item: (-item[1], item[0])))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the sums."""
        return {
            "labels": dict(self.labels),
            "modalities": dict(self.modalities),
            "seconds": self.seconds,
            "noted": self.noted,
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """Read the result of ``to_json``."""
        return cls(Counter(saved["labels"]), Counter(saved["modalities"]), saved["seconds"], saved["noted"])


@dataclass(frozen=True)
class Entry:
    """A finished shard.

    Attributes:
        shard: Its entry in the index.
        inputs: Number of inputs consumed by this shard and those before it, including rejected ones.
        chain: Digest of the identities of all these inputs, in order.
        counts: Sums over the shard.
        rejects: Inputs rejected since the previous shard.
    """

    shard: ShardInfo
    inputs: int
    chain: str
    counts: Counts
    rejects: tuple[SampleError, ...]


def chain(digest: str, identity: str) -> str:
    """Extend the digest of a sequence of identities by one: ``sha256(digest, identity)``."""
    return hashlib.sha256(f"{digest}\n{identity}".encode()).hexdigest()


class Journal:
    """A file of JSON lines: the settings, then one line for each finished shard.

    A line is written to disk after its shard and before the next shard begins. A kill may leave the last line
    incomplete; it is then dropped, and its shard packed again.

    Args:
        path: The file.
        settings: Plain JSON of all settings that affect the shards.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.entries: list[Entry] = []

    def load(self) -> None:
        """Read the entries of an earlier run; create the file if it is missing.

        Raises:
            ConfigError: If the earlier run had other settings.
            DataError: If the file is not a journal.
        """
        lines = self._whole_lines()
        if not lines:
            self.path.write_text(json.dumps({"format": _FORMAT, "settings": self.settings}) + "\n", "utf-8")
            return
        try:
            head = json.loads(lines[0])
            earlier = head["settings"] if head["format"] == _FORMAT else None
            self.entries = [_entry(json.loads(line)) for line in lines[1:]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{str(self.path)!r} is not the journal of a packing ({error!r}); start again with --restart"
            ) from error
        if earlier != json.loads(json.dumps(self.settings)):
            raise ConfigError(
                f"an unfinished packing in {str(self.path.parent)!r} had other settings: "
                f"{_differences(earlier, self.settings)}; use the earlier ones to resume it, or start again with "
                "(--restart)"
            )

    def append(self, entry: Entry) -> None:
        """Add a finished shard; it is on disk when this returns."""
        line = {
            "shard": asdict(entry.shard),
            "inputs": entry.inputs,
            "chain": entry.chain,
            "counts": entry.counts.to_json(),
            "rejects": [reject.to_json() for reject in entry.rejects],
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)

    def check_inputs(self, identities: Iterable[str]) -> None:
        """Check that the inputs of the finished shards are unchanged.

        Raises:
            DataError: If one was changed, added or removed; the message names the first affected shard.
        """
        digest, number = "", 0
        source = iter(identities)
        for entry in self.entries:
            while number < entry.inputs:
                digest, number = chain(digest, next(source, "")), number + 1
            if digest != entry.chain:
                shard = entry.shard
                raise DataError(
                    f"the inputs changed since the unfinished packing in {str(self.path.parent)!r}: {shard.name} (from "
                    f"{shard.first_key!r} to {shard.last_key!r}) would no longer be the same; restore the manifest and "
                    "the files, or start again with --restart"
                )

    def _whole_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end != len(content):
            os.truncate(self.path, end)
        return content[:end].decode("utf-8").split("\n")[:-1]  # splitlines() also splits at U+2028 within a text


def _entry(line: Mapping[str, Any]) -> Entry:
    return Entry(
        shard=ShardInfo.of(line["shard"]),
        inputs=line["inputs"],
        chain=line["chain"],
        counts=Counts.of(line["counts"]),
        rejects=tuple(SampleError.of(reject) for reject in line["rejects"]),
    )


def _differences(earlier: Any, now: Mapping[str, Any]) -> str:
    earlier = earlier if isinstance(earlier, dict) else {}
    names = sorted(name for name in {*earlier, *now} if earlier.get(name) != now.get(name))
    return ", ".join(f"{name} {earlier.get(name)!r} there, {now.get(name)!r} here" for name in names)
