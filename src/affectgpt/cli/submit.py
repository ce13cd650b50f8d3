"""The verb ``submit``: writes a checked submission for a track of MER2026, and scores it on a local split."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affectgpt.cli.check_leak import refuse_leak
from affectgpt.cli.readers import chosen_wheel
from affectgpt.cli.terminal import say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError
from affectgpt.pages.escaping import for_json

if TYPE_CHECKING:
    from affectgpt.bench.submission.challenge_tracks import Track
    from affectgpt.bench.submission.local_split import LocalScore


def run(verb: str, argv: Sequence[str]) -> int:
    """Write a submission.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If a file is damaged, a candidate has no answer, or candidates were used for training.
    """
    args = parser().parse_args(argv)
    if (args.local_gold is None) != (args.local_predictions is None):
        raise ConfigError("a local split needs both --local-gold TABLE, and --local-predictions FILE for its clips")
    if args.swapped is not None and args.track != 3:
        raise ConfigError("--swapped compares preferences of Track 3; leave it out, or give --track 3")
    from affectgpt.bench.submission import (
        get_track,
        mirrored,
        read_candidates,
        read_track_answers,
        score_local_split,
        write_submission,
    )

    track = get_track(args.track)
    wheel = chosen_wheel(args.wheel)
    rows = read_candidates(args.candidates, track, args.count)
    options = {"column": args.column, "extractor": args.extractor}
    answers = read_track_answers(args.predictions, track, rows, **options)
    if args.trained_on and not args.allow_overlap:
        _refuse_trained(args.candidates, args.trained_on)
    more: dict[str, Any] = {}
    if args.swapped is not None:
        swapped = read_track_answers(args.swapped, track, [mirrored(row) for row in rows], **options)
        more["swap"] = _swap(answers.values, swapped.values)
    local = None
    if args.local_gold is not None:
        local = score_local_split(
            track, args.local_predictions, args.local_gold, wheel, trained_on=args.trained_on, **options
        )
        more["local"] = {"gold": args.local_gold, "predictions": args.local_predictions, **local.to_json()}
    more["trained_on"] = args.trained_on
    written = write_submission(args.out, track, rows, answers, wheel, fill=args.fill, more=more)
    if args.json:
        say_json(for_json(dict(written.record)))
        return 0
    _show(track, written.record)
    if local is not None:
        _show_local(local, args.local_gold)
    say(f"wrote {shown(written.archive)}, with answer.csv and submission.json beside it")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    from affectgpt.bench.submission.challenge_tracks import TRACKS

    tracks = "; ".join(f"{t.number}: {t.title} ({', '.join(t.columns)})" for t in TRACKS.values())
    parser = VerbParser(
        prog="affectgpt submit",
        description="Check answers against the list of candidates and write answer.csv and answer.zip. "
        f"Tracks of mer2026: {tracks}. Track 4 (EEG) is out of scope.",
        epilog="example: affectgpt submit mer2026 answers.npz --track 2 --candidates track1_track2_candidate.csv "
        "--wheel wheel_folder --out submission --local-gold track2_train_human.csv --local-predictions human.npz "
        "--trained-on shards/train",
    )
    parser.add_argument("challenge", choices=["mer2026"], help="the challenge")
    parser.add_argument("predictions", help="answers: .npz, .jsonl or .csv")
    parser.add_argument("--track", type=int, required=True, metavar="N", help="1, 2 or 3")
    parser.add_argument("--candidates", required=True, metavar="TABLE", help="the list of candidates of the release")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for answer.csv and answer.zip")
    parser.add_argument("--count", type=int, metavar="N", help="candidates that must be in the list; 0 for any number")
    parser.add_argument(
        "--fill", metavar="ANSWER", help="value for rows without a usable answer; without it they are refused"
    )
    parser.add_argument("--column", help="column of the answers, if several are possible")
    parser.add_argument("--extractor", default="template", help="extractor of words from whole answers (template)")
    parser.add_argument("--wheel", default="builtin", help="for Track 2: builtin; official; or a folder of tables")
    parser.add_argument(
        "--swapped", metavar="FILE", help="for Track 3: answers to the same pairs with a1 and a2 swapped"
    )
    parser.add_argument(
        "--trained-on",
        action="append",
        default=[],
        metavar="SET",
        help="training set of the system (shards, manifest or table); its clips are left out of the local score",
    )
    parser.add_argument("--allow-overlap", action="store_true", help="allow candidates in the training set")
    parser.add_argument("--local-gold", metavar="TABLE", help="labelled table of the release to score on")
    parser.add_argument("--local-predictions", metavar="FILE", help="the system's answers to that table")
    parser.add_argument("--json", action="store_true", help="print submission.json")
    return parser


def _refuse_trained(candidates: str, trained_on: Sequence[str]) -> None:
    from affectgpt.shards.leak import find_leak

    for location in trained_on:
        refuse_leak(
            find_leak(candidates, location), "give --allow-overlap if candidates were used for training on purpose"
        )


def _swap(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, float]:
    from affectgpt.metrics.functional import swap_consistency

    both = [key for key in first if key in second]
    if not both:
        raise ConfigError(
            "--swapped has none of the answered pairs; give the answers to the same pairs (a table with descriptions "
            "has a1 and a2 swapped)"
        )
    found = swap_consistency([first[key] for key in both], [second[key] for key in both], mode="strict")
    return {name: value.item() for name, value in found.items()}


def _show(track: Track, record: Mapping[str, Any]) -> None:
    say(f"MER2026 Track {track.number} ({track.title}): {record['rows']} answers to {record['clips']} clips")
    if record["filled"]:
        say(f"  {record['filled']} rows had no usable answer and are filled with {shown(record['fill'])!r}")
    for note in record["notes"]:
        say(f"  note: {shown(note)}")
    if track.number == 2:
        say(
            f"  {record['words_per_clip']:.2f} words a clip, {record['different_words']} different; "
            f"{100 * record['coverage']:.1f} % are in the wheel {shown(record['wheel'])}"
        )
        unknown = ", ".join(f"{shown(word)} ({times})" for word, times in record["unknown_words"][:10])
        if unknown:
            say(f"  not in the wheel: {unknown}")
        if record["clips_without_a_known_word"]:
            say(f"  {record['clips_without_a_known_word']} clips have no word in the wheel and score 0")
        if not record["wheel_of_the_challenge"]:
            say("  the challenge uses wheel_mapping.npz of MER2026; give its folder as --wheel")
    else:
        say("  " + ", ".join(f"{shown(answer)} {times}" for answer, times in record["answers"].items()))
        if track.number == 3 and record["answers"].get("same"):
            say("  the published code counts an answer of same as a1")
    if "swap" in record:
        swap = record["swap"]
        say(
            f"  swapped: {100 * swap['consistency']:.2f} % of {swap['samples']} pairs keep their preference; "
            f"{100 * swap['first_share']:.1f} % of the answers are for the description that comes first"
        )


def _show_local(found: LocalScore, gold: str) -> None:
    low, high = 100 * found.score.low, 100 * found.score.high
    wheel = f", wheel {found.wheel}" if found.wheel else ""
    say(f"local split {shown(gold)}, {found.samples} rows{wheel}:")
    say(
        f"  {found.metric:<18} {100 * found.score.value:6.2f} [{low:.2f}, {high:.2f}] as published, "
        f"{100 * found.strict:.2f} strict"
    )
    for name, value in found.figures.items():
        say(f"  {name:<18} {f'{100 * value:6.2f}' if isinstance(value, float) else f'{value:6d}'}")
    if found.left_out:
        say(f"  {len(found.left_out)} clips of the split were used for training, and are left out of the score")
    if not found.told:
        say("  warning: the training sets are unknown, so this may be a score on training clips; give")
        say("  --trained-on SET for each training set")
