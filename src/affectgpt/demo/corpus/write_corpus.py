"""Writes the synthetic corpus: clips, manifests, and a note that describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.demo.corpus.states import STATES
from affectgpt.demo.corpus.synthetic_clip import ClipPlan, write_clip
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import draft_folder

NUM_TRAIN_SPEAKERS = 60
NUM_TEST_SPEAKERS = 20

README = """This corpus is synthetic. Nobody was filmed or recorded.

affectgpt drew the faces, synthesised the voices (vowels in a speaking style, not words that can be understood) and
wrote the subtitles from templates. It shows that a pipeline runs and that a model joins face, voice and words; it says
nothing about how well a model reads real people.

{num_train} training clips, {num_test} test clips with other speakers, {num_states} emotional states, seed {seed}.

train.jsonl, test.jsonl   one JSON object a line: name, video, subtitle, labels, description, split, state
clips/                    mp4 files, H.264 and AAC
"""
_OURS = frozenset({"README.txt", "clips", "train.jsonl", "test.jsonl"})


def make_corpus(
    out: Path | str,
    num_train: int = 320,
    num_test: int = 80,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make a synthetic corpus of emotional talking faces.

    Everything in it is drawn and synthesised, nobody was filmed: it serves demonstrations and tests, and a score on it
    says nothing about real people. The clips are spread evenly over ``STATES``; face, voice and words decide the
    emotion together. Test clips show speakers that the training clips do not. The same arguments give the same bytes on
    one machine, whatever the number of workers.

    The corpus appears under its name only when it is complete. A corpus that an earlier call left in ``out`` is
    replaced; a folder that holds anything else is left alone.

    Args:
        out: Folder to make.
        num_train: Number of training clips.
        num_test: Number of test clips.
        seed: Seed of all random choices.
        workers: Number of processes; with 1 the clips are made in the calling process.
        progress: Called after each clip with the number of finished clips and the number of all.

    Returns:
        ``out`` as a path; it holds ``train.jsonl``, ``test.jsonl``, ``clips/`` and ``README.txt``.

    Raises:
        ConfigError: If a number is out of range, or Pillow is not installed.
        DataError: If ``out`` exists and is not a synthetic corpus.
    """
    out = Path(out)
    for name, value, least in (("num_train", num_train, 0), ("num_test", num_test, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be {least} or more")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; it must be 0 or more")
    _check_replaceable(out)
    plans = plan_clips("train", num_train, seed) + plan_clips("test", num_test, seed)
    with draft_folder(out) as made:
        (made / "clips").mkdir()
        rows: dict[str, dict[str, Any]] = {}
        for row in _make_clips(plans, made / "clips", workers):
            rows[row["name"]] = row
            if progress:
                progress(len(rows), len(plans))
        for split in ("train", "test"):
            lines = [json.dumps(rows[plan.name], ensure_ascii=False) for plan in plans if plan.split == split]
            (made / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        note = README.format(num_train=num_train, num_test=num_test, num_states=len(STATES), seed=seed)
        (made / "README.txt").write_text(note, encoding="utf-8")
        _check_replaceable(out)
    return out


def plan_clips(split: str, num_clips: int, seed: int) -> list[ClipPlan]:
    """Decide what each clip of a split shows.

    Args:
        split: ``"train"`` or ``"test"``; the two have no speaker in common.
        num_clips: Number of clips.
        seed: Seed of the corpus.

    Returns:
        One plan per clip, in random order; the numbers of clips of any two states, and of any two kinds of words within
        a state, differ by 1 at most.
    """
    is_test = split == "test"
    rng = np.random.default_rng([seed, 0, is_test])
    first, num_speakers = (NUM_TRAIN_SPEAKERS, NUM_TEST_SPEAKERS) if is_test else (0, NUM_TRAIN_SPEAKERS)
    kinds = [(i % len(STATES), i // len(STATES)) for i in range(num_clips)]
    # Whole rounds over the speakers, each in a new order, so that speaker and state are not tied.
    rounds = [first + rng.permutation(num_speakers) for _ in range(num_clips // num_speakers + 1)]
    speakers = np.concatenate(rounds)[:num_clips]
    plans = []
    for index, place in enumerate(rng.permutation(num_clips)):
        state, turn = kinds[place]
        words = STATES[state].words[turn % len(STATES[state].words)]
        name = f"synthetic-{split}-{index:04d}"
        plans.append(ClipPlan(name, split, state, words, int(speakers[index]), seed, index))
    return plans


def _make_clips(plans: Sequence[ClipPlan], folder: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Write the clips and yield their manifest lines in the order they are finished."""
    if workers == 1:
        for plan in plans:
            yield write_clip(plan, folder)
        return
    # A forked child may inherit locks that a thread of the parent will never release.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(write_clip, plan, folder) for plan in plans]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_replaceable(out: Path) -> None:
    """Refuse to write over anything but an empty folder or an earlier corpus."""
    if not out.exists():
        return
    found = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    if found and found != _OURS:
        raise DataError(
            f"{out} exists and is not a synthetic corpus (it holds {', '.join(sorted(found)[:4])}); "
            "name a new or an empty folder"
        )
