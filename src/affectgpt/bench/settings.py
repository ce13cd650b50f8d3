"""Everything that changes figures, in one record with one hash, which shows whether two reports are comparable."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from affectgpt.bench.system_result import SystemResult
from affectgpt.errors import DataError
from affectgpt.files import digest_of, read_json

GROUPS: Mapping[str, str] = {
    "scoring": "how answers are scored",
    "sets": "what they are scored against",
    "answering": "how clips are shown and answers drawn",
    "software": "versions",
    "hardware": "hardware",
}
"""The groups of settings, in order of their effect on figures."""

DECISIVE = ("scoring", "sets", "answering")
"""Groups in which a difference makes two reports incomparable; the other groups change figures by rounding at most."""

PACKAGES = ("affectgpt", "torch", "transformers", "tokenizers", "torchmetrics", "numpy", "av")
_MOST_REPORT_BYTES = 1 << 28


def settings_of(results: Sequence[SystemResult]) -> dict[str, dict[str, Any]]:
    """The settings of results by group, without the answerers themselves.

    A value that differs between the results is a mapping of ``SYSTEM, SET`` (or only the name that tells them apart) to
    each value.
    """
    named = {_name_of(one, results): one for one in results}

    def of(read: Callable[[SystemResult], Any]) -> Any:
        values = {name: read(one) for name, one in named.items()}
        distinct = {digest_of(value): value for value in values.values()}
        return next(iter(distinct.values())) if len(distinct) == 1 else values

    scoring = {
        "mode": of(lambda one: one.result.mode),
        "wheel": of(lambda one: one.result.wheel),
        "wheel_digest": of(lambda one: one.result.wheel_digest),
        "extractor": of(lambda one: _reader(one.result.extractor)),
        "sentiment_reader": of(lambda one: _reader(one.result.sentiment_reader)),
        "selection": of(lambda one: None if one.selection is None else one.selection.rule),
        "resamples": of(lambda one: None if one.result.interval is None else one.result.interval.resamples),
        "seed": of(lambda one: one.result.seed),
    }
    sets = {
        one.result.dataset: {"gold_samples": one.result.gold_samples, "gold_digest": one.data.get("digest")}
        for one in results
    }
    asked = {
        "question": of(lambda one: (one.answered_by or {}).get("question")),
        "repeats": of(lambda one: 1 if one.repeats is None else len(one.repeats.scores)),
    }
    for name in dict.fromkeys(name for one in results for name in one.answering or {}):
        asked[name] = of(lambda one, name=name: (one.answering or {}).get(name))  # type: ignore[misc]
    is_asked = any(one.answered_by is not None for one in results)
    return {
        "scoring": scoring,
        "sets": sets,
        "answering": asked if is_asked else {"from": "prediction files"},
        "software": software(),
        "hardware": hardware(),
    }


def software() -> dict[str, Any]:
    """Versions of the software that computes figures."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, Any]:
    """The processor, its cores, and the GPUs that this process has used."""
    found: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()}
    torch = sys.modules.get("torch")  # a process that computed on a GPU has imported it
    if torch is not None and torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return found


def flat(settings: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """The settings as a flat list of dotted names and values, in order."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value


@dataclass(frozen=True)
class SettingsDifference:
    """How the settings of two reports differ.

    Attributes:
        differing: Name of a setting to its value in each report, in order of their effect; ``None`` if a report lacks
            it.
    """

    differing: Mapping[str, tuple[Any, Any]]

    @property
    def comparable(self) -> bool:
        """Whether no setting that decides figures differs."""
        return not any(name.partition(".")[0] in DECISIVE for name in self.differing)


def compare_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> SettingsDifference:
    """The difference of two records of ``settings_of``.

    Examples:
        >>> found = compare_settings({"scoring": {"mode": "official"}}, {"scoring": {"mode": "strict"}})
        >>> found.comparable, dict(found.differing)
        (False, {'scoring.mode': ('official', 'strict')})
    """
    sides = [dict(flat(one)) for one in (first, second)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    order = {group: number for number, group in enumerate(GROUPS)}
    names.sort(key=lambda name: order.get(name.partition(".")[0], len(order)))
    pairs = {name: (sides[0].get(name), sides[1].get(name)) for name in names}
    return SettingsDifference({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})


def read_settings(path: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """The settings in a report, and their hash.

    Args:
        path: ``report.json``, or its folder.

    Raises:
        DataError: If it cannot be read or holds no settings, or their hash shows that they were altered.
    """
    file = Path(path) / "report.json" if Path(path).is_dir() else Path(path)
    report = read_json(file, most_bytes=_MOST_REPORT_BYTES)
    settings = report.get("settings") if isinstance(report, dict) else None
    if not isinstance(settings, dict):
        raise DataError(f"{file} holds no settings; give a report.json that affectgpt bench wrote, or its folder")
    found = digest_of(settings)
    if report.get("settings_hash") != found:
        raise DataError(
            f"the settings in {file} are not those that were written: their hash is {found[:12]}, and the report says "
            f"{str(report.get('settings_hash'))[:12]}; write the report again"
        )
    return settings, found


def _reader(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The record of a reader without its counts."""
    return None if record is None else {name: value for name, value in record.items() if name != "counts"}


def _name_of(one: SystemResult, results: Sequence[SystemResult]) -> str:
    systems = {other.system for other in results}
    return one.result.dataset if len(systems) == 1 else f"{one.system}, {one.result.dataset}"


def _processor() -> str:
    """The processor's name, or its architecture if it has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
