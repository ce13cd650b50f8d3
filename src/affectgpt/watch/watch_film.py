"""Watches a file from the command line or from code: with a folder, it goes on after an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError
from affectgpt.files import digest_of, read_json, write_whole
from affectgpt.media.speech.base import Asr, Segment
from affectgpt.media.speech.transcribe import build_asr
from affectgpt.registry import FACE_DETECTORS
from affectgpt.watch.calibration import Calibration
from affectgpt.watch.film import Film
from affectgpt.watch.person_tracks import People
from affectgpt.watch.rows import Row
from affectgpt.watch.speaker import SpeakerJudge
from affectgpt.watch.watcher import Watcher, WatchPlan

ROWS, STATE = "rows.jsonl", "state.json"


@dataclass(frozen=True)
class Watched:
    """A film that was watched.

    Attributes:
        rows: A row for each stretch and person, in order of time.
        seconds: Length of the film.
        num_people: Tracks of faces.
        notes: What was skipped or damaged, in words.
    """

    rows: tuple[Row, ...]
    seconds: float
    num_people: int
    notes: tuple[str, ...] = ()


def watch(
    model: Any,
    source: str | Path,
    *,
    plan: WatchPlan | None = None,
    out: str | Path | None = None,
    face_detector: str | Mapping[str, Any] | None = "centerface",
    asr: Asr | str | Mapping[str, Any] | None = None,
    cues: Sequence[Segment] | None = None,
    speaker_weights: str | Path | None = None,
    calibration: Calibration | str | Path | None = None,
    model_name: str = "",
    restart: bool = False,
    progress: Callable[[float, float | None], None] | None = None,
) -> Watched:
    """Answer every utterance and person of a film; memory does not grow with its length.

    Args:
        model: An ``AffectGPT``.
        source: A video or a sound.
        plan: How it is cut and answered.
        out: Folder that keeps the answers while the film is watched; a later call goes on there.
        face_detector: Finds faces; ``None`` looks for none.
        asr: Writes down what is said: an ``Asr``, or ``NAME:MODEL``.
        cues: Subtitles with their times; they then decide where somebody speaks.
        speaker_weights: LR-ASD weights, to tell who of several people speaks.
        calibration: What turns sureness into the probability of being right, or its file.
        model_name: What the model is called in the folder, such as its checkpoint.
        restart: Throw away what an earlier call left in the folder.
        progress: Called with the seconds that are answered, and the film's length if it is known.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If the file cannot be read, or the folder belongs to another film or other settings.
    """
    plan = plan or WatchPlan()
    judge = None if speaker_weights is None else SpeakerJudge(speaker_weights)
    read = calibration if isinstance(calibration, Calibration | None) else Calibration.read(calibration)
    recogniser = asr if isinstance(asr, Asr | None) else build_asr(asr)
    watcher = Watcher(
        model,
        plan,
        detector=None if face_detector is None else FACE_DETECTORS.build(face_detector),
        asr=recogniser,
        cues=cues,
        judge=judge,
        calibration=read,
    )
    identity = {
        "film": _fingerprint(Path(source)),
        "model": model_name,
        "plan": json.loads(json.dumps(asdict(plan))),
        "faces": face_detector if isinstance(face_detector, str | None) else dict(face_detector),
        "words": digest_of([[cue.start_seconds, cue.end_seconds, cue.text] for cue in cues])
        if cues is not None
        else str(asr),
        "speaker": None if speaker_weights is None else Path(speaker_weights).name,
        "calibration": None if read is None else list(read.weights),
    }
    folder = None if out is None else _Folder(Path(out), identity, restart=restart)
    rows, state = folder.read() if folder is not None else ([], None)
    notes: list[str] = list(state["notes"]) if state else []
    if state is not None and state["is_over"]:
        return Watched(tuple(rows), state["seconds"], state["people"]["count"], tuple(notes))
    start = state["seconds"] if state else 0.0
    film = Film(source, frame_rate_hz=watcher.frame_rate_hz, start_seconds=start)
    people = People.of(state["people"]) if state else People()
    reached = start
    for found in watcher.watch(film, people):
        rows += found.rows
        reached = found.seconds
        if found.skipped and not any("nothing that the model reads" in note for note in notes):
            notes.append(f"some stretches have nothing that the model reads, such as: {found.skipped[0]}")
        if folder is not None:
            folder.add(found.rows, reached, found.people, notes, is_over=False)
        if progress is not None:
            progress(reached, film.duration_seconds)
    notes += film.notes
    if folder is not None:
        folder.add((), reached, people.to_json(float("inf")), notes, is_over=True)
    return Watched(tuple(rows), reached, people.count, tuple(notes))


class _Folder:
    """Keeps rows as they come; ``state.json`` says how many of them count, and where to go on."""

    def __init__(self, path: Path, identity: Mapping[str, Any], *, restart: bool) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._rows, self._state, self._identity = path / ROWS, path / STATE, dict(identity)
        self._count = 0
        if restart:
            self._state.unlink(missing_ok=True)
            self._rows.unlink(missing_ok=True)

    def read(self) -> tuple[list[Row], dict[str, Any] | None]:
        if not self._state.exists():
            self._rows.unlink(missing_ok=True)
            return [], None
        state = read_json(self._state, most_bytes=16 << 20)
        if not isinstance(state, dict) or "identity" not in state:
            raise DataError(f"{str(self._state)!r} was not written by watch; choose another folder")
        for name, value in self._identity.items():
            if state["identity"].get(name) != value:
                raise DataError(
                    f"{str(self._state.parent)!r} was begun with another {name}: {state['identity'].get(name)!r}, now "
                    f"{value!r}; choose another folder, or restart"
                )
        lines = self._rows.read_bytes().splitlines(keepends=True) if self._rows.exists() else []
        whole = lines[: state["num_rows"]]
        if len(whole) < state["num_rows"]:
            raise DataError(f"{str(self._rows)!r} has {len(whole)} of {state['num_rows']} rows; restart")
        if len(whole) < len(lines):  # rows after the last state are answered again
            write_whole(self._rows, b"".join(whole))
        self._count = len(whole)
        return [Row.of(json.loads(line)) for line in whole], state

    def add(
        self, rows: Sequence[Row], seconds: float, people: Mapping[str, Any], notes: Sequence[str], *, is_over: bool
    ) -> None:
        with self._rows.open("ab") as file:
            for row in rows:
                file.write((json.dumps(row.to_json(), ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._count += len(rows)
        state = {
            "identity": self._identity,
            "num_rows": self._count,
            "seconds": seconds,
            "people": dict(people),
            "notes": list(notes),
            "is_over": is_over,
        }
        write_whole(self._state, (json.dumps(state) + "\n").encode())


def _fingerprint(path: Path) -> str:
    """A digest of a file's size, beginning and end; reading all of a film takes too long."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            ends = [file.read(1 << 20)]
            file.seek(max(0, size - (1 << 20)))
            ends.append(file.read())
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be opened: {error.strerror}; check the path") from error
    return digest_of([size, *(part.hex() for part in ends)])
