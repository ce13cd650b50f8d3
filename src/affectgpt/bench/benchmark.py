"""The whole benchmark: it takes checkpoints or prediction files, and returns scored and selected results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.bench.answer_log import outcome_beside
from affectgpt.bench.answerers.answer_settings import AnswerSettings
from affectgpt.bench.answerers.base import Answerer
from affectgpt.bench.answerers.checkpoint import CheckpointAnswerer, name_of
from affectgpt.bench.extract import LabelExtractor, SentimentReader
from affectgpt.bench.gold import Gold, as_gold, find_gold
from affectgpt.bench.prediction_search import Candidate, check_paths, find_candidates, natural_order
from affectgpt.bench.run import Answered, AnswerRun, Progress, asked_of
from affectgpt.bench.scoring import default_readers, score
from affectgpt.bench.selection import Validation, check_rule, select
from affectgpt.bench.system_result import Repeats, SystemResult
from affectgpt.datamodules.unibench.sets import TEST_SETS
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

if TYPE_CHECKING:
    from affectgpt.datamodules.unibench import BenchSet, UniBenchDataModule

Paths = Sequence[str | os.PathLike[str]]
Tell = Callable[[str], None]


class Benchmark:
    """Scores predictions, and chooses one of several checkpoints.

    Args:
        out: Folder for answers, gold tables and the report.
        sets: Names of the test sets; by default all that are found.
        wheel: The vocabulary; by default the built-in one. The published figures need ``EmotionWheel.official()``.
        mode: ``official`` (as published) or ``strict``.
        rule: Which of several checkpoints counts: ``last``, ``best-on-validation`` or ``official``, see ``select``.
        validation: Validation scores, for the rule that needs them.
        extractor: The extractor that reads labels from whole answers, by name or as an instance.
        sentiment_reader: The reader that derives sentiments from labels, by name or as an instance.
        allow_partial: Accept sets that differ from the published split; the result lists the differences.
        resamples: Number of bootstrap resamples for the intervals; 0 leaves them out.
        column: The column of prediction files; by default the only one with a name that answers usually have.
        gold_column: The column of plain tables of gold labels; by default the only one with a name that they usually
            have.

    Raises:
        ConfigError: If a rule or a reader does not exist.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        sets: Sequence[str] = (),
        *,
        wheel: EmotionWheel | None = None,
        mode: str = "official",
        rule: str = "last",
        validation: Validation | None = None,
        extractor: str | LabelExtractor = "template",
        sentiment_reader: str | SentimentReader = "lexicon",
        allow_partial: bool = False,
        resamples: int = 10_000,
        column: str | None = None,
        gold_column: str | None = None,
    ) -> None:
        self.out = Path(out)
        self.sets = list(sets)
        self.wheel = EmotionWheel.builtin() if wheel is None else wheel
        self.mode = mode
        self.rule = check_rule(rule, validation)
        self.validation = validation
        self.extractor, self.sentiment_reader = default_readers(extractor, sentiment_reader, self.wheel)
        self.allow_partial = allow_partial
        self.resamples = resamples
        self.column, self.gold_column = column, gold_column

    def score_files(
        self, predictions: Paths, gold: Paths, name: str | None = None, tell: Tell | None = None
    ) -> list[SystemResult]:
        """Score prediction files.

        Args:
            predictions: Files and folders, see ``find_candidates``.
            gold: Files and folders, see ``find_gold``.
            name: Name of the system, if there is only one.
            tell: Called with a line of text about each file before it is scored.

        Returns:
            One result per system and set; of several checkpoints, that of the selected one.

        Raises:
            ConfigError: If a set, a mode or a reader does not exist.
            DataError: If files are missing, damaged, or do not fit each other.
        """
        paths = [Path(p) for p in predictions]
        check_paths(paths)
        found = find_gold(
            [Path(p) for p in gold],
            self.out / "gold",
            self.sets,
            allow_partial=self.allow_partial,
            column=self.gold_column,
        )
        gold_files = [file for one in found.values() for file in one.files]
        search = find_candidates(paths, self.sets, name, gold_files=gold_files, column=self.column)
        candidates = search.candidates
        for path, reason in search.passed_over.items():
            if tell is not None:
                tell(f"skipped {path}: {reason}")
        named = list(dict.fromkeys(one.test_set.name for one in candidates))
        lacking = [one for one in named if one not in found]
        if lacking:
            raise DataError(
                f"there are predictions for {', '.join(lacking)}, but no gold labels; add them, or name other sets"
            )
        groups: dict[tuple[str, str], dict[str, SystemResult]] = {}
        for candidate in candidates:
            if tell is not None:
                tell(f"scoring {candidate.test_set.title}: {candidate.path}")
            result = self._score(candidate, found[candidate.test_set.name], self.column)
            result = replace(result, passed_over={str(path): why for path, why in search.passed_over.items()})
            outcome = outcome_beside(candidate.path)
            if outcome is not None:
                result = replace(result, failed_answers=outcome[0], refused_answers=outcome[1] or None)
            groups.setdefault((candidate.system, candidate.test_set.name), {})[candidate.checkpoint] = result
        return self._selected(groups)

    def run(
        self,
        checkpoints: Paths,
        data: UniBenchDataModule,
        *,
        system: str,
        progress: Progress | None = None,
        settings: AnswerSettings | None = None,
        device: str = "cpu",
        allow_import: bool = False,
        repeats: int = 1,
    ) -> list[SystemResult]:
        """Answer test sets with checkpoints, and score the answers; see ``answer``.

        Args:
            checkpoints: Files that training wrote, or folders that ``save_pretrained`` wrote.
            data: The test sets, with the batch size and the clip reader.
            system: Name of the system.
            progress: Called after each answer.
            settings: The modalities to show, and how answers are drawn; by default all modalities, and greedily.
            device: Device to run the model on.
            allow_import: Import registered modules that a checkpoint names as code.
            repeats: See ``answer``.

        Raises:
            CheckpointError: If a checkpoint cannot be read.
            ConfigError: If two checkpoints have the same name.
            DataError: If a set or a log of answers is damaged.
        """
        _check_names([name_of(path) for path in map(Path, checkpoints)])
        answerers = [
            CheckpointAnswerer(
                path,
                settings,
                device=device,
                batch_size=data.batch_size,
                num_workers=data.num_workers,
                face_detector=data.face_detector,
                allow_import=allow_import,
            )
            for path in map(Path, checkpoints)
        ]
        return self.answer(answerers, data.sets, system=system, progress=progress, repeats=repeats)

    def answer(
        self,
        answerers: Sequence[Answerer],
        sets: Mapping[str, BenchSet],
        *,
        system: str,
        question: str | None = None,
        progress: Progress | None = None,
        repeats: int = 1,
    ) -> list[SystemResult]:
        """Ask the answerers about test sets, and score the answers.

        Questions that the same answerer has already answered are not asked again.

        Args:
            answerers: The answerers; several are checkpoints of one system, and one of them is selected.
            sets: The test sets by name.
            system: Name of the system.
            question: The question; by default each answerer's own.
            progress: Called after each answer.
            repeats: Number of runs; the report gives their mean and spread.

        Returns:
            As ``score_files`` does; each result also has the settings that decided the answers (``answered_by``), and
            the samples without an answer (``failed_answers``, ``refused_answers``), which have no labels.

        Raises:
            ConfigError: If two answerers have the same name, or one cannot answer at all.
            DataError: If a set or a log of answers is damaged, or an answerer cannot continue.
        """
        if repeats < 1:
            raise ConfigError(f"repeats is {repeats}; at least 1 is needed")
        _check_names([one.title() for one in answerers])
        gold = {name: as_gold(bench_set, self.out / "gold") for name, bench_set in sets.items()}
        groups: dict[tuple[str, str], dict[str, SystemResult]] = {}
        for answerer in sorted(answerers, key=lambda one: natural_order(one.title())):
            asking = AnswerRun(answerer, self.out / "answers", system=system, progress=progress)
            for name, bench_set in sets.items():
                asked = asked_of(bench_set, question or answerer.question)
                reader = self.sentiment_reader if bench_set.test_set.task == "sentiment" else None
                runs = []
                for number in range(repeats):
                    answered = asking.answer(asked, name, self.extractor, reader, number)
                    candidate = Candidate(bench_set.test_set, system, asking.name, answered.predictions)
                    runs.append(_told(self._score(candidate, gold[name], None), answered, answerer))
                groups.setdefault((system, name), {})[asking.name] = _repeated(runs)
        return self._selected(groups)

    def _score(self, candidate: Candidate, gold: Gold, column: str | None) -> SystemResult:
        result = score(
            candidate.test_set.name,
            candidate.path,
            gold,
            self.wheel,
            self.mode,
            resamples=self.resamples,
            extractor=self.extractor,
            sentiment_reader=self.sentiment_reader,
            column=column,
        )
        return SystemResult(
            result,
            candidate.system,
            candidate.checkpoint,
            str(candidate.path),
            data={**gold.record, "digest": gold.digest()},
        )

    def _selected(self, groups: Mapping[tuple[str, str], dict[str, SystemResult]]) -> list[SystemResult]:
        order = list(TEST_SETS)
        selected = []
        for (_, dataset), results in sorted(groups.items(), key=lambda item: (item[0][0], order.index(item[0][1]))):
            if len(results) == 1:
                selected.append(next(iter(results.values())))
                continue
            scores = {name: one.result.score for name, one in results.items()}
            selection = select(self.rule, scores, dataset, self.validation)
            if selection.honest is not None:
                interval = results[selection.honest.chosen].result.interval
                selection = replace(selection, honest=replace(selection.honest, interval=interval))
            selected.append(replace(results[selection.chosen], selection=selection))
        return selected


def _check_names(names: Sequence[str]) -> None:
    repeated = {one for one in names if names.count(one) > 1}
    if repeated:
        raise ConfigError(f"several checkpoints are called {', '.join(sorted(repeated))}; rename the files")


def _told(scored: SystemResult, answered: Answered, answerer: Answerer) -> SystemResult:
    """A scored result, with the record of how its answers were made."""
    result = replace(scored.result, extractor=answered.extractor, sentiment_reader=answered.sentiment_reader)
    return replace(
        scored,
        result=result,
        answered_by={**answered.identity, "settings": dict(answerer.settings())},
        failed_answers=dict(answered.failed),
        refused_answers=dict(answered.refused) or None,
        answering=dict(answerer.shown_and_drawn()) or None,
        taken=dict(answered.record),
    )


def _repeated(runs: Sequence[SystemResult]) -> SystemResult:
    """The result of the first run, with the score of every run."""
    if len(runs) == 1:
        return runs[0]
    ends = [one.result.interval for one in runs if one.result.interval is not None]
    low, high = (sum(getattr(one, end) for one in ends) / len(ends) if ends else None for end in ("low", "high"))
    return replace(runs[0], repeats=Repeats(tuple(one.result.score for one in runs), low, high))
