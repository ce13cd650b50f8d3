"""The verb ``harness``: explains how to run MER-UniBench in other evaluation harnesses."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from importlib import metadata

from affectgpt.cli.readers import names_in
from affectgpt.cli.terminal import say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser

HARNESSES = {
    "inspect": "Inspect, of the UK AI Security Institute (inspect_ai)",
    "lmms-eval": "lmms-eval, of EvolvingLMMs-Lab (lmms_eval)",
}

INSPECT = """\
Inspect finds the task through the installed package; nothing needs to be written.

  pip install 'affectgpt[inspect]'
  export {variable}=/data/unibench
  inspect eval affectgpt/mer_unibench --model google/gemini-2.5-pro --no-log-images

Arguments of the task, each with -T: data, sets=meld,sims  modalities=frames,audio,text  wheel=official
extractor=lexicon|template  sentiment=lexicon|wheel  allow_partial=true"""

LMMS = """\
run it with
  lmms-eval --model qwen2_5_omni --tasks mer_unibench --include_path {folder}
a checkpoint of ours on any task of lmms-eval
  lmms-eval --model affectgpt --model_args checkpoint=runs/last.ckpt --tasks TASK"""

EXAMPLES = """\
examples:
  affectgpt harness
  affectgpt harness inspect
  lmms-eval --model qwen2_5_omni --tasks mer_unibench \\
      --include_path $(affectgpt harness lmms-eval --data /data/unibench)
"""


def run(verb: str, argv: Sequence[str]) -> int:
    """Explain how to run a harness; write the task files if it needs them.

    Raises:
        ConfigError: If a set, a reader or a modality does not exist, or no data was named.
        DataError: If a set is missing or damaged, or differs from the published split.
    """
    args = parser().parse_args(argv)
    if args.name is None and args.json:
        installed = {name: {"title": title, "installed": _version(name)} for name, title in HARNESSES.items()}
        say_json(json.dumps(installed, indent=2))
        return 0
    if args.name is None:
        for name, title in HARNESSES.items():
            say(f"{name:<10} {title}: {_installed(name)}; affectgpt harness {name} says how to run it")
        return 0
    if args.name == "inspect":
        from affectgpt.harness.exam import DATA_VARIABLE

        text = INSPECT.format(variable=DATA_VARIABLE)
        if args.json:
            say_json(json.dumps({"how": text}, indent=2))
        else:
            say(text)
        return 0
    return _write_lmms(args)


def _write_lmms(args: argparse.Namespace) -> int:
    from affectgpt.datamodules.unibench.sets import TEST_SETS
    from affectgpt.harness.exam import DATA_VARIABLE, read_items
    from affectgpt.harness.grading import Grading
    from affectgpt.harness.lmms_folder import write_lmms_folder

    data = args.data or [one for one in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if one]
    grading = Grading(args.wheel, args.extractor, args.sentiment)
    modalities = names_in(args.modalities)
    items = read_items(data, names_in(args.sets), allow_partial=args.allow_partial, subtitles="text" in modalities)
    folder = write_lmms_folder(items, grading, modalities=modalities, out=args.out)
    if args.json:
        say_json(
            json.dumps(
                {"folder": str(folder), "clips": {name: len(listed) for name, listed in items.items()}}, indent=2
            )
        )
        return 0
    # Only the folder goes to standard output, for use in another command.
    for name, listed in items.items():
        say(f"  {TEST_SETS[name].title:<11} {len(listed):>6,} clips", err=True)
    say(LMMS.format(folder=shown(folder)), err=True)
    say(folder)
    return 0


def _installed(name: str) -> str:
    version = _version(name)
    return "not installed here" if version is None else f"{version} is installed"


def _version(name: str) -> str | None:
    package = {"inspect": "inspect-ai", "lmms-eval": "lmms-eval"}[name]
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt harness",
        description="Explain how to run MER-UniBench in an evaluation harness, and write the files that it needs.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("name", nargs="?", choices=sorted(HARNESSES), help="the harness; without a name, all are listed")
    add("--data", nargs="+", metavar="FOLDER", help="folders of the test sets; by default those of AFFECTGPT_UNIBENCH")
    add("--sets", default="", metavar="A,B", help="only these sets; by default all that are found")
    add("--modalities", default="video,text", help="modalities to show: video, audio, text (video,text)")
    add("--wheel", default="builtin", help="builtin; official; or the folder of the official tables")
    add("--extractor", default="lexicon", help="extractor of labels from answers: lexicon or template")
    add("--sentiment", default="lexicon", help="reader of sentiments from labels: lexicon or wheel")
    add("--allow-partial", action="store_true", help="accept sets that differ from the published split")
    add("--out", metavar="FOLDER", help="folder for the tasks; by default one in the cache")
    add("--json", action="store_true", help="print the list, or the folder and its sets, as JSON")
    return parser
