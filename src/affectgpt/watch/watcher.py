"""Watches a film: reads it forward, cuts it, follows people, and answers stretch by stretch and person by person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from affectgpt.datamodules.collate import collate
from affectgpt.errors import ConfigError, DataError
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.speech.activity import speech_segments
from affectgpt.media.speech.base import SAMPLE_RATE_HZ, Asr, Segment
from affectgpt.media.speech.transcribe import MARGIN_SECONDS
from affectgpt.types import Clip
from affectgpt.watch.calibration import Calibration
from affectgpt.watch.film import Film
from affectgpt.watch.film_reading import IsolatedFilm
from affectgpt.watch.person_tracks import People, Sighting
from affectgpt.watch.rows import Row
from affectgpt.watch.scene import Scene
from affectgpt.watch.speaker import SpeakerJudge
from affectgpt.watch.stretches import CuttingRules, Stretch, cut
from affectgpt.watch.sureness import Asking, answer_surely

CHUNK_SECONDS = 20.0
LOOKS_PER_SECOND = 4.0
"""How often faces are looked for."""


@dataclass(frozen=True)
class WatchPlan:
    """How a film is watched.

    Attributes:
        rules: How it is cut.
        asking: How stretches are answered.
        batch_size: Stretches and people answered at a time.
        unsure_below: Answers with a confidence below this are marked as unsure; ``None`` marks none.
        question: The question; by default it asks for all possible emotional states.
        language: Code of the spoken language for the recogniser; ``None`` lets it detect it.

    Raises:
        ConfigError: If a number is out of range.
    """

    rules: CuttingRules = field(default_factory=CuttingRules)
    asking: Asking = field(default_factory=Asking)
    batch_size: int = 8
    unsure_below: float | None = None
    question: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"watch: batch_size is {self.batch_size}, but must be at least 1")
        if self.unsure_below is not None and not 0 <= self.unsure_below <= 1:
            raise ConfigError(f"watch: unsure_below is {self.unsure_below}, but must be in [0, 1]")


@dataclass(frozen=True)
class Progress:
    """What came of one chunk.

    Attributes:
        rows: The answers.
        seconds: Up to where the film is answered.
        read_seconds: Up to where it is read.
        people: The tracks, for a later run; see ``People.to_json``.
        language: The language that the recogniser heard; ``None`` if it heard none yet.
        skipped: Stretches with nothing that the model reads, and why.
    """

    rows: tuple[Row, ...]
    seconds: float
    read_seconds: float
    people: Mapping[str, Any]
    language: str | None
    skipped: tuple[str, ...]


class Watcher:
    """Answers a film.

    Args:
        model: An ``AffectGPT``.
        plan: How.
        detector: Finds faces; ``None`` looks for none.
        asr: Writes down what is said where ``cues`` are not given.
        cues: Subtitles with their times, which then decide where somebody speaks.
        judge: Tells who of several people speaks; ``None`` leaves that open.
        calibration: Turns sureness into the probability of being right.
    """

    def __init__(
        self,
        model: Any,
        plan: WatchPlan,
        *,
        detector: FaceDetector | None = None,
        asr: Asr | None = None,
        cues: Sequence[Segment] | None = None,
        judge: SpeakerJudge | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.model, self.plan, self._detector, self._asr = model, plan, detector, asr
        self._cues = None if cues is None else sorted(cues, key=lambda cue: cue.start_seconds)
        self._judge, self._calibration = judge, calibration
        self._language = plan.language
        self.frame_rate_hz = judge.frame_rate_hz if judge is not None else LOOKS_PER_SECOND

    def watch(
        self,
        film: Film | IsolatedFilm,
        people: People | None = None,
        *,
        read_seconds: float | None = None,
        language: str | None = None,
    ) -> Iterator[Progress]:
        """Answer from where the film begins.

        Args:
            film: The film, at this watcher's ``frame_rate_hz``.
            people: The tracks of an earlier run that reached this time.
            read_seconds: Up to where that run had read.
            language: The language that it had heard.
        """
        people, scene = people or People(), Scene(film.start_seconds)
        self._language = self._language or language
        every = max(1, round(self.frame_rate_hz / LOOKS_PER_SECOND))
        for chunk in film.chunks(CHUNK_SECONDS, read_seconds=read_seconds):
            ticks = np.rint(chunk.times * self.frame_rate_hz).astype(np.int64)
            looked = np.flatnonzero(ticks % every == 0)  # the same pictures, wherever a run begins
            faces = self._detector.detect(chunk.frames[looked]) if self._detector is not None and len(looked) else []
            seen = people.look(chunk.frames[looked], chunk.times[looked].tolist(), faces) if faces else []
            scene.add(chunk, seen, chunk.times[looked].tolist())
            stretches, rest = cut(
                self._spoken(scene), scene.start_seconds, scene.end_seconds, self.plan.rules, is_last=chunk.is_last
            )
            rows, skipped = self._answer(scene, stretches)
            rest = round(rest * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
            scene.forget(rest)
            yield Progress(tuple(rows), rest, chunk.end_seconds, people.to_json(rest), self._language, tuple(skipped))

    def _spoken(self, scene: Scene) -> list[Segment]:
        """Where somebody speaks, in seconds of the film."""
        if self._cues is not None:
            return [cue for cue in self._cues if scene.start_seconds <= cue.start_seconds < scene.end_seconds]
        if not len(scene.waveform):
            return []
        at = scene.start_seconds
        return [Segment(at + one.start_seconds, at + one.end_seconds) for one in speech_segments(scene.waveform)]

    def _answer(self, scene: Scene, stretches: Sequence[Stretch]) -> tuple[list[Row], list[str]]:
        shown: list[tuple[Stretch, int | None, str, str | None, Clip, dict[str, str]]] = []
        skipped = []
        for stretch in stretches:
            words = self._words(scene, stretch)
            people = scene.people(stretch)
            verdicts = self._verdicts(scene, stretch, people)
            everybody: list[int | None] = [*people]
            for person in everybody or [None]:
                speaks = verdicts.get(person, "")
                key = f"{stretch.start_seconds:.2f}s-{person or 'nobody'}"
                said = words if speaks != "no" else None
                try:
                    clip, missing = scene.clip(
                        stretch,
                        people[person] if person is not None else (),
                        self.model.media,
                        key=key,
                        words=said,
                        is_heard=speaks != "no",
                    )
                except DataError as error:
                    skipped.append(str(error))
                    continue
                shown.append((stretch, person, speaks, said, clip, missing))
        rows = []
        question = self.plan.question or self.model.style.label_question
        for start in range(0, len(shown), self.plan.batch_size):
            some = shown[start : start + self.plan.batch_size]
            batch = collate([clip for *_, clip, _ in some], [question] * len(some), profile=self.model.media)
            answers = answer_surely(self.model, batch, self.plan.asking)
            for (stretch, who, speaks, said, _, missing), (found, sure) in zip(some, answers, strict=True):
                confidence = sure.raw if self._calibration is None else self._calibration(sure)
                unsure = self.plan.unsure_below is not None and confidence < self.plan.unsure_below
                rows.append(
                    Row(
                        round(stretch.start_seconds, 3),
                        round(stretch.end_seconds, 3),
                        who,
                        speaks,
                        said,
                        () if unsure else found.labels,
                        None if unsure else found.sentiment,
                        round(confidence, 4),
                        unsure,
                        found.text,
                        found.used,
                        missing,
                    )
                )
        return rows, skipped

    def _words(self, scene: Scene, stretch: Stretch) -> str | None:
        if stretch.words is not None or self._asr is None or not stretch.is_spoken:
            return stretch.words
        sound = scene.sound(stretch.start_seconds - MARGIN_SECONDS, stretch.end_seconds + MARGIN_SECONDS)
        words, spoken = self._asr.transcribe(sound, self._language)
        self._language = self._language or spoken
        return words.strip() or None

    def _verdicts(
        self, scene: Scene, stretch: Stretch, people: Mapping[int, Sequence[Sighting]]
    ) -> dict[int | None, str]:
        if not stretch.is_spoken:
            return {}
        if not people:
            return {None: "unknown"}
        if self._judge is not None:
            numbers = scene.pictures(stretch)
            boxes = {person: scene.boxes(numbers, seen) for person, seen in people.items()}
            sound = scene.sound(stretch.start_seconds, stretch.end_seconds)
            judged = self._judge.judge(scene.frames[numbers], boxes, sound)
            return {person: judged[person] for person in people}
        return dict.fromkeys(people, "alone" if len(people) == 1 else "unknown")
