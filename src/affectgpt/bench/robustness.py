"""Asks one checkpoint about degraded clips, and compares every strength with the clips as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.bench.answerers.checkpoint import CheckpointAnswerer
from affectgpt.bench.degradations import KINDS, Degradation
from affectgpt.bench.modality_views import LETTERS, answer_each, compared_with, letters_of, one_checkpoint
from affectgpt.bench.run import asked_of
from affectgpt.bench.system_result import DegradedResult, SystemResult
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.bench.benchmark import Benchmark
    from affectgpt.bench.run import Progress
    from affectgpt.datamodules.unibench import BenchSet


def answer_degraded(
    benchmark: Benchmark,
    answerers: Sequence[Answerer],
    sets: Mapping[str, BenchSet],
    degradations: Sequence[Degradation],
    *,
    system: str,
    question: str | None = None,
    progress: Progress | None = None,
    repeats: int = 1,
) -> tuple[list[SystemResult], dict[str, str]]:
    """Answer test sets as they are and with every degradation, and compare them on the same clips.

    Clips are decoded and encoded anew for each degradation: features that were kept are those of whole clips.

    Args:
        benchmark: The benchmark that scores the answers.
        answerers: The checkpoint, as the only item.
        sets: The test sets by name.
        degradations: Kinds and strengths.
        system: Name of the system.
        question: The question; by default the checkpoint's own.
        progress: Called after each answer.
        repeats: Must be 1: every clip is asked about once.

    Returns:
        The results on the clips as they are, with the comparisons in ``degraded``; and the kinds that have no effect on
        this model, with the reasons.

    Raises:
        ConfigError: If the answerer is not one checkpoint of ours that reads media, there are several runs, or only
            some modalities are shown.
        DataError: If a set or a log of answers is damaged.
    """
    answerer = one_checkpoint(answerers, repeats, "--degrade")
    lacking = _lacking(answerer, degradations)
    options: dict[str, Any] = {"question": question, "progress": progress}
    clean = benchmark.answer([answerer], sets, system=system, **options)
    asked = ((one.name, DegradedAnswerer(answerer, one, sets)) for one in degradations if one.kind not in lacking)
    found = answer_each(benchmark, asked, sets, system=system, **options)
    kinds = {one.name: one for one in degradations}
    degraded = []
    for result in clean:
        compared = compared_with(benchmark, result, found, sets)
        listed = [DegradedResult(kinds[name].kind, kinds[name].strength, each) for name, each in compared.items()]
        degraded.append(replace(result, degraded=tuple(listed)))
    return degraded, lacking


class DegradedAnswerer(Answerer):
    """A checkpoint that is shown degraded clips.

    Args:
        source: The checkpoint.
        degradation: What is done to the clips.
        sets: The test sets, in which clips for swaps are looked for.
    """

    name = "degraded"

    def __init__(self, source: CheckpointAnswerer, degradation: Degradation, sets: Mapping[str, BenchSet]) -> None:
        self.source, self.degradation = source, degradation
        self._changed = {name: degradation.partners(asked_of(one, "")) for name, one in sets.items()}

    @property
    def question(self) -> str:
        """The label question of the model's style."""
        return self.source.question

    def title(self) -> str:
        """The name of the file or folder, with the degradation."""
        return f"{self.source.title()} {self.degradation.name}"

    def identity(self) -> Mapping[str, Any]:
        """The identity of the checkpoint, and the degradation."""
        return {**self.source.identity(), "degradation": self.degradation.to_json()}

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """The record of the checkpoint, and the degradation."""
        return {**self.source.shown_and_drawn(), "degradation": self.degradation.to_json()}

    def settings(self) -> Mapping[str, Any]:
        """The device and the batch size."""
        return self.source.settings()

    def inputs(self) -> Mapping[str, Any]:
        """The inputs of the model for a complete clip."""
        return self.source.inputs()

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Answer from degraded clips; what is swapped is read from the other clip's file."""
        given = []
        for one in asked:
            changed = self._changed.get(one.set_name, {}).get(one.key)
            given.append(one if changed is None else replace(changed, question=one.question))
        for read in self.source.read(given):
            if isinstance(read, Answer):
                yield read
            else:
                yield from self.source.write(self.degradation(read), run)


def _lacking(answerer: CheckpointAnswerer, degradations: Sequence[Degradation]) -> dict[str, str]:
    """The kinds that degrade what the model does not read, with the reason.

    Raises:
        ConfigError: If the model reads stored features in place of media.
    """
    from affectgpt.encoders.precomputed import PrecomputedEncoder

    network = answerer.load().network
    stored = [name for name in network.specs if isinstance(network.encoder(name), PrecomputedEncoder)]
    if stored:
        raise ConfigError(
            f"--degrade changes media before the encoders, but stream {stored[0]!r} of this model has no encoder: it "
            "reads stored features, which are those of whole clips"
        )
    letters = letters_of(network)
    return {
        one.kind: f"the model reads no {LETTERS[KINDS[one.kind].letter]}"
        for one in degradations
        if KINDS[one.kind].letter not in letters
    }


def degraded_in_words(one: SystemResult) -> list[str]:
    """For each kind one line: every strength with its score and difference to the clips as they are, in percent."""
    lines: dict[str, list[str]] = {}
    for found in one.degraded or ():
        score, difference = found.comparison.a.score.value, found.comparison.difference.value
        lines.setdefault(found.kind, []).append(f"{found.strength:g}: {100 * score:.2f} ({100 * difference:+.2f})")
    return [f"{kind} {', '.join(told)}" for kind, told in lines.items()]
