"""MER-UniBench as a task of Inspect: what ``inspect eval affectgpt/mer_unibench`` finds through its entry point."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, Content, ContentText, ContentVideo, GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState, generate

from affectgpt.bench.report.content import mean_of
from affectgpt.bench.result import SetResult
from affectgpt.datamodules.unibench.sets import TEST_SETS, get_test_set
from affectgpt.errors import ConfigError
from affectgpt.harness.exam import DATA_VARIABLE, Item, read_items
from affectgpt.harness.grading import GradedItem, Grading, grade, grade_one
from affectgpt.harness.inspect_media import UNREADABLE, show_media

MODALITIES = ("video", "frames", "audio", "text")
_VIDEO_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mpeg": "mpeg", ".mpg": "mpeg"}


@task
def mer_unibench(
    data: str | list[str] | None = None,
    sets: str | list[str] = "",
    modalities: str | list[str] = "video,text",
    wheel: str = "builtin",
    extractor: str = "lexicon",
    sentiment: str = "lexicon",
    allow_partial: bool = False,
) -> Task:
    """The nine test sets of MER-UniBench, or those that are there, as one task.

    Args:
        data: Folders of the test sets; by default those that the variable ``AFFECTGPT_UNIBENCH`` names.
        sets: Names of the sets; by default all that are found.
        modalities: What the model is shown of a clip: ``video`` (the file, with its sound for models that hear it),
            ``frames`` (eight of its pictures), ``audio`` (its sound as a WAV file), ``text`` (the spoken words).
        wheel: ``builtin``, ``official`` or the folder of the official tables.
        extractor: What reads labels out of answers: ``lexicon`` or ``template``.
        sentiment: What reads sentiments off labels: ``lexicon`` or ``wheel``.
        allow_partial: Take sets that differ from the published split.

    Raises:
        ConfigError: If a set, a modality or a reader does not exist, or no data was named.
        DataError: If a set is missing or damaged, or differs from the published split.
    """
    folders = _listed(data if data else os.environ.get(DATA_VARIABLE, "").split(os.pathsep))
    shown = _modalities(_listed(modalities))
    grading = Grading(wheel, extractor, sentiment)
    items = read_items(folders, _listed(sets), allow_partial=allow_partial, subtitles="text" in shown)
    samples = [_sample(item, shown) for listed in items.values() for item in listed]
    return Task(
        dataset=MemoryDataset(samples, name="mer_unibench"),
        solver=[show_media(shown), generate()] if {"frames", "audio"} & {*shown} else generate(),
        scorer=unibench_answer(wheel, extractor, sentiment),
        metrics=[unibench_figures(wheel, extractor, sentiment)],
        # as affectgpt bench answers: the likeliest answer; --temperature 1 --top-p 0.9 is the published sampling
        config=GenerateConfig(temperature=0.0),
        metadata={
            "modalities": ",".join(shown),
            "wheel": wheel,
            "extractor": grading.extractor,
            "sentiment": grading.sentiment,
        },
    )


@scorer(metrics=[])
def unibench_answer(wheel: str, extractor: str, sentiment: str) -> Scorer:
    """Keeps a clip's whole answer, from which the figures are made, and gives the clip its own score."""
    grading = Grading(wheel, extractor, sentiment)

    async def one(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        item = _graded(str(state.sample_id), state.metadata, answer)
        labels, value = grade_one(item, grading)
        unreadable = state.metadata.get(UNREADABLE)
        told = f"no answer: {unreadable}" if unreadable else f"labels {labels}, gold {item.gold!r}"
        return Score(value=value, answer=answer, explanation=told, metadata={UNREADABLE: bool(unreadable)})

    return one


@metric(scores="unreduced")
def unibench_figures(wheel: str, extractor: str, sentiment: str) -> Metric:
    """The figure of every set, official and strict, with its standard error, and the means over the sets.

    With several epochs a figure is the mean over them, and ``..._spread`` the standard deviation between them.
    """
    grading = Grading(wheel, extractor, sentiment)

    def figures(scores: list[SampleScore]) -> dict[str, float]:
        results = [_score_epoch(epoch, grading) for epoch in _epochs(scores)]
        unreadable = Counter(str(one.sample_id).partition("/")[0] for one in scores if _is_unreadable(one))
        names = [name for name in TEST_SETS if any(name in found for found in results)]
        named: dict[str, float] = {}
        for name in names:
            named |= _set_figures(name, [found[name] for found in results if name in found])
            if unreadable[name]:
                named[f"{name}_unreadable"] = unreadable[name] / len(results)
        for suffix in ("", "_strict"):
            mean = mean_of(named[f"{name}_{get_test_set(name).metric}{suffix}"] for name in names)
            named[f"mean{suffix}"] = float("nan") if mean is None else mean
        return named

    return figures


def _set_figures(name: str, runs: Sequence[SetResult]) -> dict[str, float]:
    """The named figures of one set, over the epochs."""
    figure = f"{name}_{get_test_set(name).metric}"
    found: dict[str, float] = {}
    for suffix, mode in (("", "official"), ("_strict", "strict")):
        values, errors = [], []
        for run in runs:
            one = run.official if mode == "official" else run.strict
            values.append(one.figure(run.metric) or 0.0)
            errors.append(one.standard_error or 0.0)
        mean = sum(values) / len(values)
        found[f"{figure}{suffix}"] = mean
        found[f"{figure}{suffix}_stderr"] = sum(errors) / len(errors)
        if len(values) > 1:
            spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
            found[f"{figure}{suffix}_spread"] = spread**0.5
    found[f"{name}_clips"] = sum(run.gold_samples or 0 for run in runs) / len(runs)
    return found


def _epochs(scores: Sequence[SampleScore]) -> list[list[SampleScore]]:
    """The scores by epoch: the first answers to each clip, the second ones, and so on."""
    seen: Counter[str] = Counter()
    epochs: list[list[SampleScore]] = []
    for one in scores:
        number = seen[str(one.sample_id)]
        seen[str(one.sample_id)] += 1
        if number == len(epochs):
            epochs.append([])
        epochs[number].append(one)
    return epochs


def _score_epoch(scores: Sequence[SampleScore], grading: Grading) -> dict[str, SetResult]:
    by_set: dict[str, dict[str, GradedItem]] = {}
    for one in scores:
        item = _graded(str(one.sample_id), one.sample_metadata or {}, one.score.answer)
        by_set.setdefault(item.set_name, {})[item.name] = item
    return {name: grade(items, grading) for name, items in by_set.items()}


def _is_unreadable(one: SampleScore) -> bool:
    return bool((one.score.metadata or {}).get(UNREADABLE))


def _graded(sample_id: str, metadata: dict[str, object], answer: str | None) -> GradedItem:
    set_name, _, name = sample_id.partition("/")
    gold = metadata["gold"]
    assert isinstance(gold, str | float | int)
    return GradedItem(set_name, name, answer, gold, str(metadata["cluster"]) or None)


def _sample(item: Item, modalities: Sequence[str]) -> Sample:
    """One clip with what is shown of it.

    Raises:
        ConfigError: If a file that is to be shown is not there, or of a kind that models are not given.
    """
    contents: list[Content] = []
    if "video" in modalities:
        path, kind = _video_of(item)
        contents.append(ContentVideo(video=path, format=kind))
    contents.append(ContentText(text=item.question))
    files = {name: "" if path is None else str(path) for name, path in (("video", item.video), ("audio", item.audio))}
    return Sample(
        input=[ChatMessageUser(content=contents)],
        target=str(item.gold),
        id=f"{item.set_name}/{item.name}",
        metadata={"set": item.set_name, "gold": item.gold, "cluster": item.cluster or "", **files},
    )


def _video_of(item: Item) -> tuple[str, str]:
    if item.video is None:
        raise ConfigError(
            f"{item.set_name}, clip {item.name!r} has no video file; leave video out of modalities, or name other sets"
        )
    kind = _VIDEO_FORMATS.get(item.video.suffix.lower())
    if kind is None:
        raise ConfigError(
            f"{item.video}: models are given video as {', '.join(_VIDEO_FORMATS)}; show them frames,audio instead of "
            "video, or convert the files of this set"
        )
    return str(item.video.resolve()), kind


def _modalities(names: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in MODALITIES]
    if unknown or not names:
        raise ConfigError(f"modalities are {', '.join(MODALITIES)}, but got {', '.join(unknown) or 'none'}")
    return [name for name in MODALITIES if name in names]


def _listed(value: str | Sequence[str]) -> list[str]:
    """Texts of a list, or of one text with commas between them, as the command line of Inspect passes either."""
    texts = value.split(",") if isinstance(value, str) else value
    return [text.strip() for text in texts if text.strip()]
