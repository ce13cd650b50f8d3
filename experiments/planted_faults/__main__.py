"""Measures the filters of annotation on faults that were planted: what they remove, and what a student learns from it.

    python experiments/planted_faults [--seeds 3] [--out FILE] [--work FOLDER] [--workers 2]

The synthetic corpus of the demo gives clean clips, with which classifiers are trained that vote, and a raw set, into
which wrong descriptions, sounds of other states and far-off lengths are planted. The stages of ``affectgpt annotate``
filter it; a student is trained on what each pipeline keeps, for equally many steps, and answers clips of speakers whom
nobody has met. With ``--work`` the folder is kept, and a killed run goes on from there.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; the processes are the parallel part

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from filtering import AGREEMENT, PIPELINES, removed_at_best, sift
from learning import BASIC, CLASS_OF, MEDIA, VOTERS, Lesson, VoterJob, decode_into, teach, train_voter
from planting import NONE, RawClip, plant, write_raw_manifest
from result_page import DEFAULTS, write_page

from affectgpt.demo.corpus import make_corpus
from affectgpt.demo.corpus.write_corpus import plan_clips
from affectgpt.files import read_json, write_whole

MAIN_LEVEL, FEW_LEVEL = 0.45, 0.20
OTHER_LEVELS = (0.0, 0.10, FEW_LEVEL, 0.60)
UNTAUGHT = (
    *((level, "low") for level in OTHER_LEVELS),
    (0.60, "none"),
    (0.60, "low + E + S"),
)
"""Rows that are filtered but teach no student, for time."""
PATIENT = tuple((FEW_LEVEL, row) for row in ("none", "low + E + S"))
"""Rows that teach a second student, for ``PATIENCE`` times as many steps."""
PATIENCE = 4
CORPUS_SEED = 13
ARGUMENTS = {
    "seeds": "how often it is repeated",
    "clean": "clips that the voters learn from",
    "raw": "clips to filter",
    "test": "clips of other speakers that the students answer",
    "steps": "training steps of a student, the same for all",
    "voter_steps": "training steps of a voter",
    "workers": "processes",
}
Job = TypeVar("Job")
Found = TypeVar("Found")


def main() -> None:
    """Run the experiment and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in ARGUMENTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=DEFAULTS[name], help=what)
    parser.add_argument("--work", type=Path, help="folder for what is made on the way; kept")
    parser.add_argument("--out", type=Path, default=Path("planted_faults.md"), help="the result; a .json stands beside")
    args = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        try:
            result = run(args, work)
        finally:
            spent = _spent(work / "spent.json", time.perf_counter() - started)
        result |= {"seconds": round(spent[0]), "processor_seconds": round(spent[1])}
    write_whole(args.out.with_suffix(".json"), json.dumps(result) + "\n")
    write_page(result, args.out)
    print(args.out.read_text("utf-8"))


def run(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All of it, as plain JSON."""
    say = partial(_say, time.perf_counter())
    _refuse_other_settings(args, work / "made_of.json")
    say(f"drawing {args.clean + args.raw + args.test} clips")
    corpus = work / "corpus"
    if not corpus.exists():
        make_corpus(corpus, args.clean + args.raw, args.test, CORPUS_SEED, args.workers)
    train, test = (_rows(corpus / f"{split}.jsonl") for split in ("train", "test"))
    clean, raw = divide_by_speaker(train, args.clean)
    trials = [Trial.make(seed, raw, corpus, work / f"seed{seed}") for seed in range(args.seeds)]

    say("decoding")
    videos = {corpus / row["video"] for row in [*train, *test]}
    videos |= {clip.video for trial in trials for clips in trial.raw.values() for clip in clips}
    media = work / "media.pt"
    decode_into(media, sorted(videos))

    say(f"training {2 * len(VOTERS)} voters")
    clean_clips = tuple(str(corpus / row["video"]) for row in clean), tuple(row["state"] for row in clean)
    jobs = [
        VoterJob(kind, design, *clean_clips, args.voter_steps, number, str(work / "voters" / f"{kind}-{design}.ckpt"))
        for number, design in enumerate(VOTERS)
        for kind in ("emotion", "sentiment")
    ]
    trained = _all(partial(train_voter, media=media), jobs, args.workers)
    voters = {kind: [path for job, path in zip(jobs, trained, strict=True) if job.kind == kind] for kind in CLASS_OF}

    rows = []
    for trial in trials:
        say(f"filtering, seed {trial.seed}")
        rows += list(trial.rows(voters, args.workers))
    taught = [row for row in rows if (row["level"], row["row"]) not in UNTAUGHT]
    patient = [row for row in taught if (row["level"], row["row"]) in PATIENT]
    say(f"training {len(taught) + len(patient)} students")
    jobs_of = ((taught, args.steps), (patient, PATIENCE * args.steps))
    lessons = [Lesson(row["videos"], row["labels"], steps, row["seed"]) for some, steps in jobs_of for row in some]
    tests = tuple(str(corpus / row["video"]) for row in test)
    answers = _all(partial(teach, media=media, tests=tests, store=work / "answers"), lessons, args.workers)
    for row, said in zip(taught, answers, strict=False):
        row["answers"] = said
    for row, said in zip(patient, answers[len(taught) :], strict=True):
        row["patient_answers"] = said
    rows = [{name: value for name, value in row.items() if name not in ("videos", "labels")} for row in rows]
    say("done")
    told = {name: value for name, value in vars(args).items() if name not in ("work", "out")}
    gold = [row["labels"] for row in test]
    votes = [trial.accuracy for trial in trials]
    at_best = {row: removed_at_best(row) for row in AGREEMENT}
    return {
        "settings": told,
        "main_level": MAIN_LEVEL,
        "gold": gold,
        "vote_accuracy": votes,
        "removed_at_best": at_best,
        "patience": PATIENCE,
        "rows": rows,
    }


def divide_by_speaker(
    rows: Sequence[dict[str, Any]], num_clean: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Clean clips for the voters and raw ones, of other speakers but for one whose clips are divided."""
    speakers = {plan.name: plan.speaker for plan in plan_clips("train", len(rows), CORPUS_SEED)}
    order = sorted(set(speakers.values()))
    random.Random(0).shuffle(order)
    divided = sorted(rows, key=lambda row: order.index(speakers[row["name"]]))
    return divided[:num_clean], divided[num_clean:]


@dataclass
class Trial:
    """One seed: where the faults are, the subsets, and the weights and the order of the students.

    Attributes:
        seed: The seed.
        folder: For what is made on the way.
        raw: Level to the raw set.
        accuracy: Share of the raw clips with their own sound whose vote is right, once ``rows`` ran.
    """

    seed: int
    folder: Path
    raw: Mapping[float, Sequence[RawClip]]
    accuracy: float = 0.0

    @classmethod
    def make(cls, seed: int, raw: Sequence[dict[str, Any]], corpus: Path, folder: Path) -> Trial:
        """Plant the faults."""
        (folder / "swapped").mkdir(parents=True, exist_ok=True)
        levels = sorted({MAIN_LEVEL, *OTHER_LEVELS})
        return cls(seed, folder, {level: plant(raw, corpus, level, seed, folder / "swapped") for level in levels})

    def rows(self, voters: Mapping[str, Sequence[str]], workers: int) -> Iterator[dict[str, Any]]:
        """Every row of every level: what is kept, and what a student is to learn."""
        for level, clips in self.raw.items():
            manifest = self.folder / f"raw-{level:.2f}" / "manifest.jsonl"
            manifest.parent.mkdir(exist_ok=True)
            write_raw_manifest(manifest, clips)
            wanted = PIPELINES if level == MAIN_LEVEL else ("none", "low", "low + E + S")
            found = {row: sift(row, manifest, voters, MEDIA, self.folder.parent, workers) for row in wanted}
            kept = {row: dict(sifted.labels) for row, sifted in found.items()}
            labels, low = kept["none"], list(kept["low"])
            if level == MAIN_LEVEL:
                chosen = random.Random(self.seed).sample(low, len(kept["low + E + S"]))
                kept["random, as many as low + E + S"] = {name: labels[name] for name in chosen}
                right = [clip.name for clip in clips if clip.fault == NONE]
                kept["oracle"] = {name: labels[name] for name in right}
                own = {clip.name: clip.state for clip in clips if clip.fault != "sound"}
                votes = found["low + E"].votes
                hits = [votes[name] == BASIC[state] for name, state in own.items() if name in votes]
                self.accuracy = sum(hits) / max(1, len(hits))
            yield from (self._row(level, row, clips, those) for row, those in kept.items())

    def _row(
        self, level: float, row: str, clips: Sequence[RawClip], kept: Mapping[str, tuple[str, ...]]
    ) -> dict[str, Any]:
        by_name = {clip.name: clip for clip in clips}
        return {
            "seed": self.seed,
            "level": level,
            "row": row,
            "planted": Counter(clip.fault for clip in clips),
            "kept": Counter(by_name[name].fault for name in kept),
            "videos": tuple(str(by_name[name].video) for name in kept),
            "labels": tuple(kept.values()),
        }


def _refuse_other_settings(args: argparse.Namespace, path: Path) -> None:
    """Clips and voters of other numbers would be taken for those that were asked for."""
    wanted = {name: getattr(args, name) for name in ("clean", "raw", "test", "voter_steps")}
    made_of = read_json(path, most_bytes=1_000) if path.exists() else wanted
    if made_of != wanted:
        raise SystemExit(f"{path.parent} was made with {made_of}, but this is {wanted}; give another folder as --work")
    write_whole(path, json.dumps(wanted))


def _spent(path: Path, seconds: float) -> list[float]:
    """Seconds by the clock and of the processor of this run and of those that it goes on from."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    now = [seconds, sum(one.ru_utime + one.ru_stime for one in usage)]
    before = read_json(path, most_bytes=1_000) if path.exists() else [0.0, 0.0]
    both = [one + other for one, other in zip(now, before, strict=True)]
    write_whole(path, json.dumps(both))
    return both


def _all(work: Callable[[Job], Found], jobs: Sequence[Job], workers: int) -> list[Found]:
    if workers == 1:
        return [work(job) for job in jobs]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, jobs))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _say(start: float, what: str) -> None:
    print(f"{time.perf_counter() - start:7.0f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
