"""Watches a file from the command line or from code: with a folder, it goes on after an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError, MediaError, reason_of
from affectgpt.files import digest_of, read_json, write_whole
from affectgpt.media.speech.base import Asr, Segment
from affectgpt.media.speech.transcribe import build_asr
from affectgpt.registry import FACE_DETECTORS
from affectgpt.watch.calibration import Calibration
from affectgpt.watch.film import Film
from affectgpt.watch.film_reading import IsolatedFilm
from affectgpt.watch.person_tracks import People
from affectgpt.watch.rows import Row
from affectgpt.watch.speaker import SpeakerJudge
from affectgpt.watch.watcher import Progress, Watcher, WatchPlan

ROWS, STATE = "rows.jsonl", "state.json"
_KEPT = {"num_rows", "seconds", "read_seconds", "people", "language", "notes", "is_over"}


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


class StopWatching(Exception):  # noqa: N818, which is no error
    """Raised by ``progress``, or by the model, to stop: ``watch`` then gives what was answered before."""


class BrokenFilmError(MediaError):
    """A film that cannot be read to its end.

    Args:
        error: What is wrong with it.
        found: What was answered before.
    """

    def __init__(self, error: MediaError, found: Watched) -> None:
        super().__init__(f"{error}. Answered up to {found.seconds:.1f} s", error.code)
        self.found = found


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
    isolated: bool = False,
    longest_seconds: float | None = None,
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
        isolated: Whether the film is read in a process of its own, which it may crash. A script that asks for it must
            guard its main module with ``if __name__ == "__main__"``.
        longest_seconds: Longest film that is taken; ``None`` takes any.
        progress: Called with the seconds that are answered, and the film's length if it is known; it may raise
            ``StopWatching``.

    Raises:
        BrokenFilmError: If the film cannot be read to its end; the error has what was answered before.
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
        "film": fingerprint(Path(source)),
        "model": model_name,
        "plan": json.loads(json.dumps(asdict(plan))),
        "faces": face_detector if isinstance(face_detector, str | None) else dict(face_detector),
        "words": _source_of_words(cues, asr),
        "speaker": None if speaker_weights is None else fingerprint(Path(speaker_weights)),
        "calibration": None if read is None else list(read.weights),
    }
    folder = None if out is None else _Folder(Path(out), identity, restart=restart)
    rows, state = folder.read() if folder is not None else ([], None)
    notes: list[str] = list(state["notes"]) if state else []
    if state is not None and state["is_over"]:
        return Watched(tuple(rows), state["seconds"], state["people"]["count"], tuple(notes))
    start = state["seconds"] if state else 0.0
    people = People.of(state["people"]) if state else People()
    reached = start
    before = {"read_seconds": state["read_seconds"], "language": state["language"]} if state else {}
    with ExitStack() as held:
        film = _open(source, watcher.frame_rate_hz, start, held, isolated=isolated)
        _check_length(source, film.duration_seconds, longest_seconds)
        is_stopped = False
        try:
            for found in watcher.watch(film, people, **before):
                _check_length(source, found.read_seconds, longest_seconds)
                rows += found.rows
                reached = found.seconds
                if found.skipped and not any("nothing that the model reads" in note for note in notes):
                    notes.append(f"some stretches have nothing that the model reads, such as: {found.skipped[0]}")
                if folder is not None:
                    folder.add(found, notes)
                if progress is not None:
                    progress(reached, film.duration_seconds)
        except StopWatching:
            is_stopped = True
        except MediaError as error:
            notes += film.notes
            raise BrokenFilmError(error, Watched(tuple(rows), reached, people.count, tuple(notes))) from error
        notes += film.notes
    if is_stopped:
        notes.append(f"it was stopped after {reached:.1f} s; what follows in the film was not answered")
    elif folder is not None:
        folder.add(Progress((), reached, reached, people.to_json(float("inf")), None, ()), notes, is_over=True)
    return Watched(tuple(rows), reached, people.count, tuple(notes))


def _check_length(source: str | Path, seconds: float | None, longest_seconds: float | None) -> None:
    if longest_seconds is not None and (seconds or 0.0) > longest_seconds:
        raise MediaError(
            f"{Path(source).name!r} lasts more than {longest_seconds / 60:g} min, the longest film that is taken here; "
            "cut it",
            "too_long",
        )


def _open(
    source: str | Path, frame_rate_hz: float, start_seconds: float, held: ExitStack, *, isolated: bool
) -> Film | IsolatedFilm:
    if not isolated:
        return Film(source, frame_rate_hz=frame_rate_hz, start_seconds=start_seconds)
    return held.enter_context(IsolatedFilm(source, frame_rate_hz=frame_rate_hz, start_seconds=start_seconds))


def _source_of_words(cues: Sequence[Segment] | None, asr: Asr | str | Mapping[str, Any] | None) -> str:
    if cues is not None:
        return digest_of([[cue.start_seconds, cue.end_seconds, cue.text] for cue in cues])
    return type(asr).__qualname__ if isinstance(asr, Asr) else str(asr)


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
        if not isinstance(state, dict) or not isinstance(state.get("identity"), dict) or not state.keys() >= _KEPT:
            raise DataError(f"{str(self._state)!r} was not written by this watch; choose another folder, or restart")
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
        try:
            return [Row.of(json.loads(line)) for line in whole], state
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{str(self._rows)!r} has a row that is damaged ({reason_of(error)}); restart") from error

    def add(self, found: Progress, notes: Sequence[str], *, is_over: bool = False) -> None:
        with self._rows.open("ab") as file:
            for row in found.rows:
                file.write((json.dumps(row.to_json(), ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._count += len(found.rows)
        state = {
            "identity": self._identity,
            "num_rows": self._count,
            "seconds": found.seconds,
            "read_seconds": found.read_seconds,
            "people": dict(found.people),
            "language": found.language,
            "notes": list(notes),
            "is_over": is_over,
        }
        write_whole(self._state, (json.dumps(state) + "\n").encode())


def fingerprint(path: Path) -> str:
    """A digest of a file's size, beginning and end, or of those of all files in a folder.

    Reading all of a film or a checkpoint takes too long.

    Raises:
        DataError: If a file cannot be opened.
    """
    if path.is_dir():
        return digest_of([[one.name, fingerprint(one)] for one in sorted(path.iterdir()) if one.is_file()])
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            ends = [file.read(1 << 20)]
            file.seek(max(0, size - (1 << 20)))
            ends.append(file.read())
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be opened: {error.strerror}; check the path") from error
    return digest_of([size, *(part.hex() for part in ends)])
