"""A pipeline of stages, read from one YAML file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from affectgpt.annotate.stage import GIVEN_FIELDS, Stage
from affectgpt.errors import ConfigError, did_you_mean, first_few
from affectgpt.registry import STAGES, Spec
from affectgpt.text import clean_name

MAX_PIPELINE_BYTES = 1 << 20
_KEYS = ("name", "source", "licence", "partitions", "budget", "stages")
_STAGE_KEYS = ("name", "args", "as")
_BUDGET_KEYS = ("cost", "tokens", "currency")


@dataclass(frozen=True)
class Step:
    """A stage of a pipeline.

    Attributes:
        label: What it is called here, unique in the pipeline.
        spec: Registered name and arguments.
        stage: The stage itself.
    """

    label: str
    spec: Spec
    stage: Stage


@dataclass(frozen=True)
class Spending:
    """Bounds on what a run may cost; earlier runs into the same folder count.

    Attributes:
        cost: Most money, in the currency that the prices of the stages are in; ``None`` for no bound.
        tokens: Most tokens, read and written together; ``None`` for no bound.
        currency: Its name, for the data card.
    """

    cost: float | None = None
    tokens: int | None = None
    currency: str = ""


@dataclass(frozen=True)
class Pipeline:
    """Stages in order, and what belongs to the set that they make.

    Attributes:
        name: Of the set.
        steps: The stages.
        source: Where the clips come from, for the data card.
        licence: What the clips may be used for, for the data card.
        partitions: Files that the journal is spread over.
        spending: Bounds on the cost.
    """

    name: str
    steps: tuple[Step, ...]
    source: str | None = None
    licence: str | None = None
    partitions: int = 64
    spending: Spending = field(default_factory=Spending)

    def stages_json(self) -> dict[str, Any]:
        """Plain JSON that ``make_pipeline`` makes the same stages of, in another process."""
        stages = [{**step.spec.to_json(), "as": step.label} for step in self.steps]
        return {"name": self.name, "partitions": self.partitions, "stages": stages}


def read_pipeline(path: str | Path) -> Pipeline:
    """Read a pipeline from a YAML file.

    Paths in the arguments of stages are relative to where the command runs, as everywhere.

    Raises:
        ConfigError: If the file cannot be read, a key or a stage is unknown, an argument does not fit, or a stage reads
            a field that nobody wrote before it.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_PIPELINE_BYTES:
            raise ConfigError(f"{str(path)!r} has {path.stat().st_size:,} bytes; a pipeline is a page of YAML")
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the pipeline {str(path)!r} cannot be read: {error.strerror}; check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the pipeline {str(path)!r} is not YAML: {reason}") from error
    return make_pipeline(found, str(path))


def make_pipeline(found: Any, where: str = "the pipeline") -> Pipeline:
    """Make a pipeline of plain data; see ``read_pipeline``.

    Args:
        found: A mapping with ``stages``, and ``name``, ``source``, ``licence``, ``partitions`` and ``budget``.
        where: What it is called in messages.
    """
    data = _mapping(found, where, _KEYS)
    stages = data.get("stages")
    if not isinstance(stages, list) or not stages:
        raise ConfigError(f"{where}: 'stages' is {stages!r:.80}; list the stages, each with a name and args")
    partitions = data.get("partitions", 64)
    if type(partitions) is not int or not 1 <= partitions <= 99_999:
        raise ConfigError(f"{where}: partitions is {partitions!r}; give a whole number from 1 to 99999")
    steps = tuple(_steps(stages, where))
    _check_fields(steps, where)
    return Pipeline(
        name=str(data.get("name") or "annotated"),
        steps=steps,
        source=_text(data, "source", where),
        licence=_text(data, "licence", where),
        partitions=partitions,
        spending=_spending(data.get("budget"), where),
    )


def _steps(stages: Sequence[Any], where: str) -> Iterator[Step]:
    taken: set[str] = set()
    for number, given in enumerate(stages, start=1):
        entry = {"name": given} if isinstance(given, str) else _mapping(given, f"{where}: stage {number}", _STAGE_KEYS)
        spec = Spec.of({name: entry[name] for name in ("name", "args") if name in entry})
        label = entry.get("as", spec.name)
        if not isinstance(label, str) or not label or label != clean_name(label) or len(label) > 60:
            raise ConfigError(f"{where}: stage {number} is called {label!r}; give a short name after 'as'")
        if label in taken:
            raise ConfigError(f"{where}: two stages are called {label!r}; name one of them with 'as: another-name'")
        taken.add(label)
        stage: Stage = STAGES.build(spec)
        yield Step(label, spec, stage)


def _check_fields(steps: Sequence[Step], where: str) -> None:
    """Refuse a stage that reads what nobody writes before it: a typing mistake would be met after hours."""
    known = set(GIVEN_FIELDS)
    for step in steps:
        unknown = [name for name in step.stage.reads if name not in known and name not in step.stage.optional]
        if unknown:
            hint = did_you_mean(unknown[0], known)
            later = [other.label for other in steps if unknown[0] in other.stage.writes]
            order = f" Stage {later[0]!r} writes it, but comes later." if later else ""
            raise ConfigError(
                f"{where}: stage {step.label!r} reads the field {unknown[0]!r}, which no stage before it "
                f"writes.{order}{hint} There are: {first_few(sorted(known), 20)}"
            )
        known |= set(step.stage.writes)


def _spending(found: Any, where: str) -> Spending:
    data = _mapping(found or {}, f"{where}: 'budget'", _BUDGET_KEYS)
    cost, tokens = data.get("cost"), data.get("tokens")
    if cost is not None and (type(cost) not in (int, float) or not math.isfinite(cost) or cost < 0):
        raise ConfigError(f"{where}: budget: cost is {cost!r}; give an amount of money, from 0")
    if tokens is not None and (type(tokens) is not int or tokens < 0):
        raise ConfigError(f"{where}: budget: tokens is {tokens!r}; give a whole number, from 0")
    return Spending(None if cost is None else float(cost), tokens, str(data.get("currency", "")))


def _mapping(found: Any, where: str, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where} is {found!r:.80}; write keys and values: {', '.join(keys)}")
    for name in found:
        if name not in keys:
            raise ConfigError(f"{where}: unknown key {name!r}.{did_you_mean(name, keys)} Known: {', '.join(keys)}")
    return found


def _text(data: Mapping[str, Any], name: str, where: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}: {name} is {value!r}; give a text")
    return value
