"""Asks one checkpoint by views, with sound, picture or words left out; the encoders run once per clip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.bench.answerers.checkpoint import CheckpointAnswerer, longest_first
from affectgpt.bench.clip_features import ClipFeatures
from affectgpt.bench.comparison import compare
from affectgpt.bench.evidence import evidence_of
from affectgpt.bench.gold import as_gold
from affectgpt.bench.report.view_content import VIEWS, WHOLE
from affectgpt.bench.system_result import Comparison, SystemResult
from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.media.profile import modality_of
from affectgpt.types import Modality

if TYPE_CHECKING:
    from affectgpt.bench.benchmark import Benchmark
    from affectgpt.bench.run import Progress
    from affectgpt.datamodules.unibench import BenchSet
    from affectgpt.model import AffectGPT
    from affectgpt.model.network import Network
    from affectgpt.types import Batch

LETTERS: Mapping[str, str] = {"A": "audio", "V": "video", "T": "text"}
_OF_MODALITY: Mapping[Modality, str] = {Modality.AUDIO: "A", Modality.VISUAL: "V"}


def read_views(text: str) -> list[str]:
    """Parse a list of views: ``all``, or some with commas between them; the letters may come in any order.

    The result always includes the whole view, which the others are compared with.

    Raises:
        ConfigError: If a view is unknown.

    Examples:
        >>> read_views("t, va")
        ['T', 'AV', 'AVT']
    """
    known = {frozenset(view): view for view in VIEWS}
    wanted = {WHOLE}
    for name in text.split(","):
        plain = name.strip().upper()
        if plain == "ALL":
            wanted |= {*VIEWS}
        elif frozenset(plain) in known and len(plain) == len({*plain}):
            wanted.add(known[frozenset(plain)])
        else:
            raise ConfigError(
                f"unknown view {name.strip()!r}.{did_you_mean(plain, VIEWS)} Known: all, or some of {', '.join(VIEWS)} "
                "(A sound, V picture, T words)"
            )
    return [view for view in VIEWS if view in wanted]


def answer_views(
    benchmark: Benchmark,
    answerers: Sequence[Answerer],
    sets: Mapping[str, BenchSet],
    views: Sequence[str],
    *,
    system: str,
    question: str | None = None,
    progress: Progress | None = None,
    repeats: int = 1,
) -> tuple[list[SystemResult], dict[str, str]]:
    """Answer test sets once for each view, and compare each view with the whole one on the same clips.

    The whole view shares its answers with a run without views.

    Args:
        benchmark: The benchmark that scores the answers.
        answerers: The checkpoint, as the only item.
        sets: The test sets by name.
        views: See ``read_views``.
        system: Name of the system.
        question: The question; by default the checkpoint's own.
        progress: Called after each answer.
        repeats: Must be 1: views are asked once.

    Returns:
        The results of the whole view, with the comparisons in ``views`` and, in ``evidence``, what became of labels
        whose only evidence was left out; and the views that the model cannot be asked by, with the reasons.

    Raises:
        ConfigError: If the answerer is not one checkpoint of ours, there are several runs, or only some modalities are
            shown.
        DataError: If a set or a log of answers is damaged.
    """
    answerer = one_checkpoint(answerers, repeats, "--views")
    lacking = {view: why for view in views if view != WHOLE and (why := _lacks(answerer.load(), view))}
    options: dict[str, Any] = {"question": question, "progress": progress}
    folder = benchmark.out / "features"
    whole = benchmark.answer([ViewAnswerer(answerer, WHOLE, folder)], sets, system=system, **options)
    asked = ((view, ViewAnswerer(answerer, view, folder)) for view in views if view != WHOLE and view not in lacking)
    found = answer_each(benchmark, asked, sets, system=system, **options)
    blind = answerer.blind_answer(question or answerer.question)
    letters = [letter for letter in WHOLE if letter in letters_of(answerer.load().network)]
    told = []
    for one in whole:
        by_view = {view: results[one.result.dataset] for view, results in found.items()}
        evidence = evidence_of(benchmark, one, by_view, letters, blind)
        told.append(replace(one, views=compared_with(benchmark, one, found, sets), evidence=evidence))
    return told, lacking


def one_checkpoint(answerers: Sequence[Answerer], repeats: int, option: str) -> CheckpointAnswerer:
    """The checkpoint that is asked about whole clips and other forms of them.

    Args:
        answerers: The answerers of the benchmark.
        repeats: How often each clip is to be asked about.
        option: The option that asks for the forms, such as ``--views``.

    Raises:
        ConfigError: If it is not one checkpoint of ours, there are several runs, or only some modalities are shown.
    """
    answerer = answerers[0]
    if len(answerers) > 1 or not isinstance(answerer, CheckpointAnswerer):
        raise ConfigError(f"{option} needs one checkpoint of ours; got {len(answerers)} answerers ({answerer.name!r})")
    if len(answerer.answer_settings.modalities) < len(LETTERS):
        raise ConfigError(f"{option} decides what is shown of a clip; leave --modalities out")
    if repeats > 1:
        raise ConfigError(f"{option} asks about each clip once, but repeats is {repeats}; leave it out")
    return answerer


def answer_each(
    benchmark: Benchmark,
    asked: Iterable[tuple[str, Answerer]],
    sets: Mapping[str, BenchSet],
    *,
    system: str,
    **options: Any,
) -> dict[str, dict[str, SystemResult]]:
    """Answer test sets with each form of one system.

    Args:
        benchmark: The benchmark that scores the answers.
        asked: Name and answerer of each form.
        sets: The test sets by name.
        system: Name of the system.
        options: Further arguments of ``Benchmark.answer``.

    Returns:
        Name of each form to its result on each set.
    """
    found = {}
    for name, answerer in asked:
        results = benchmark.answer([answerer], sets, system=f"{system} [{name}]", **options)
        found[name] = {one.result.dataset: one for one in results}
    return found


class ViewAnswerer(Answerer):
    """A checkpoint that is shown some modalities, with features that all of its views share.

    Args:
        source: The checkpoint.
        view: Such as ``AT``.
        folder: Folder for the kept features.
    """

    name = "view"

    def __init__(self, source: CheckpointAnswerer, view: str, folder: str | Path) -> None:
        self.view = view
        self.source = source.showing([LETTERS[letter] for letter in view])
        self._folder = Path(folder)
        # the checkpoint, the files and the face decide the features; the shown modalities and the question do not
        self._encoded_by = {key: source.identity()[key] for key in ("checkpoint", "face_detector")}

    @property
    def question(self) -> str:
        """The label question of the model's style."""
        return self.source.question

    def title(self) -> str:
        """The name of the file or folder, followed by the view unless it is the whole one."""
        return self.source.title() if self.view == WHOLE else f"{self.source.title()} {self.view}"

    def identity(self) -> Mapping[str, Any]:
        """The identity of the checkpoint with these modalities; it does not depend on where the features come from."""
        return self.source.identity()

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """The record of the checkpoint with these modalities."""
        return self.source.shown_and_drawn()

    def settings(self) -> Mapping[str, Any]:
        """The device and the batch size."""
        return self.source.settings()

    def inputs(self) -> Mapping[str, Any]:
        """The inputs of the model for a complete clip."""
        return self.source.inputs()

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Answer from kept features; clips without them are first decoded and encoded, and their features kept."""
        if not asked:
            return
        kept = ClipFeatures(self._folder / asked[0].set_name, self._encoded_by)
        left = {one.key: one for one in asked}
        for read in self.source.read([one for one in asked if one.key not in kept]):
            if isinstance(read, Answer):
                yield read
            else:
                self._encode(read, kept)
                yield from self.source.write(self._from(kept, [left.pop(key) for key in read.keys]), run)
        known = iter(longest_first([one for one in left.values() if one.key in kept]))
        while rows := list(islice(known, self.source.batch_size)):
            yield from self.source.write(self._from(kept, rows), run)

    def _encode(self, batch: Batch, kept: ClipFeatures) -> None:
        import torch

        from affectgpt.part import in_eval_mode
        from affectgpt.training.halving import in_halves

        model = self.source.load()

        def encode(cut: slice) -> list[str]:
            part = batch.rows(range(cut.start, cut.stop))
            kept.add(part, {name: model.network.encode(name, part) for name in model.network.specs})
            return list(part.keys)

        with torch.no_grad(), in_eval_mode(model):
            in_halves(encode, batch.keys, model.device)

    def _from(self, kept: ClipFeatures, asked: Sequence[Asked]) -> Batch:
        from affectgpt.datamodules.collate import collate

        clips = [kept.clip(one.key, one.subtitle) for one in asked]
        return collate(clips, [one.question for one in asked]).to(self.source.load().device)


def _lacks(model: AffectGPT, view: str) -> str | None:
    """Why a model cannot be asked by a view; ``None`` if it can."""
    network = model.network
    shown = letters_of(network, joined=False) & {*view}
    joined = {_letter_of(network, name) for name in network.prefusion_inputs}
    if "multi" in network.slots and "multi" in network.num_tokens:
        if network.prefusion.any_subset:
            shown |= joined & {*view}
        elif joined <= {*view}:
            shown |= joined
    unseen = [LETTERS[letter] for letter in view if letter not in shown]
    return f"its prompt shows no {' and no '.join(unseen)} of its own" if unseen else None


def letters_of(network: Network, *, joined: bool = True) -> set[str]:
    """What a model reads of a clip: sound (A), picture (V), words (T).

    Args:
        network: Its network.
        joined: Whether what it reads through the joined tokens alone counts as well.
    """
    seen = {name for name in network.specs if name in network.slots}
    if joined and "multi" in network.slots and "multi" in network.num_tokens:
        seen |= {*network.prefusion_inputs}
    found = {_letter_of(network, name) for name in seen} & {*LETTERS}
    return found | ({"T"} if "subtitle" in network.slots else set())


def _letter_of(network: Network, stream: str) -> str:
    """The letter of what a stream reads; the name of a modality that no view has, such as one of a plug-in."""
    kind = modality_of(str(network.specs[stream].source))
    return _OF_MODALITY.get(kind, kind)


def compared_with(
    benchmark: Benchmark,
    whole: SystemResult,
    found: Mapping[str, Mapping[str, SystemResult]],
    sets: Mapping[str, BenchSet],
) -> dict[str, Comparison]:
    """Compare other answers of a system with those of the whole view, on the same clips and resamples.

    Args:
        benchmark: The benchmark that scores them.
        whole: The result of the whole view on one set.
        found: Name of each way of asking to its results by set.
        sets: The test sets by name.
    """
    dataset = whole.result.dataset
    gold = as_gold(sets[dataset], benchmark.out / "gold")
    compared = {
        view: compare(
            dataset,
            str(results[dataset].predictions),
            str(whole.predictions),
            gold,
            benchmark.wheel,
            benchmark.mode,
            max(1, benchmark.resamples),
            extractor=benchmark.extractor,
            sentiment_reader=benchmark.sentiment_reader,
        )
        for view, results in found.items()
    }
    if not benchmark.resamples:
        compared = {view: _without_ends(one) for view, one in compared.items()}
    return compared


def _without_ends(one: Comparison) -> Comparison:
    """The comparison without intervals, for a run that draws no resamples."""
    a, difference = (
        replace(interval, low=math.nan, high=math.nan, resamples=0) for interval in (one.a.score, one.difference)
    )
    return replace(one, a=replace(one.a, score=a), difference=difference, a_better=math.nan)


def views_in_words(one: SystemResult) -> str:
    """The score of each view and its difference to the whole view, in percent, on one line; empty without views."""
    told = [
        f"{view} {100 * found.a.score.value:.2f} ({100 * found.difference.value:+.2f})"
        for view, found in (one.views or {}).items()
    ]
    return ", ".join(told)
