"""The help of the verbs that take a configuration: our own arguments first, and short."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

from affectgpt.errors import ConfigError, did_you_mean

VERBS = {
    "fit": "Train a model from a configuration.",
    "validate": "Loss and wheel score of a trained model on the validation shards of a configuration.",
    "test": "Loss and wheel score of a trained model on the test shards of a configuration.",
    "predict": "Answer the shards of a configuration with a trained model; predict --help is about media files.",
}
EXAMPLE = """\
example: affectgpt fit --config experiments/real_clips_smollm2.yaml
         affectgpt fit --config FILE --start affectgpt-face
         affectgpt fit --config FILE --model.llm.name tiny --trainer.max_steps 20 --print_config
"""
OWN = {
    "--config FILE": "a configuration in YAML; a second one overrides the first",
    "--print_config": "print the whole configuration, and stop",
    "--ckpt_path FILE": "fit: resume from this checkpoint; validate, test, predict: the trained model",
    "--start MODEL": "a saved folder, .ckpt or hub id: the model to train on from",
    "--objective NAME": "fit: what to learn by in place of given answers, such as grpo",
    "--seed_everything N": "seed of everything random (42)",
    "--dry-run": "fit: show the plan and the memory of the run, and stop",
    "--overwrite": "fit: replace the checkpoints of another configuration in the folder",
    "--rank_timeout S": "fit: seconds after which a silent rank ends the run (300)",
    "--profile": "fit: end after 13 steps, and tell where the time of ten went",
    "--memory": "fit: end after 2 steps, and tell the memory that they took",
    "--json": "print what the run came to as JSON, and nothing else, on the standard output",
    "--untrained": "validate, test, predict: use random weights nevertheless",
}
OF_TRAINER = {
    "max_epochs, max_steps": "how long",
    "devices, num_nodes, strategy": "where: 1, 8; 1, 4; ddp, fsdp2, ...",
    "precision": "32-true, bf16-mixed, ...",
    "accumulate_grad_batches, gradient_clip_val": "how a step is made",
    "default_root_dir": "folder of the run",
    "callbacks, logger": "classes by name, with their arguments",
}


def short_help(verb: str) -> str:
    """The arguments of a verb on one screen: ours explained, those of model, data and trainer by their names."""
    lines = [f"usage: affectgpt {verb} --config FILE [--KEY VALUE ...]", "", VERBS[verb], "", *_table(OWN)]
    for how, arguments in _sections().values():
        lines += ["", how, *textwrap.wrap(", ".join(arguments), 110, initial_indent="  ", subsequent_indent="  ")]
    sections = "|".join(_sections())
    lines += ["", f"explained: affectgpt {verb} --help {sections}; every argument: affectgpt {verb} --help-all", ""]
    return "\n".join([*lines, EXAMPLE])


def section_help(verb: str, section: str) -> str:
    """The arguments of the model, the optimiser, the data or the trainer, each with a sentence.

    Raises:
        ConfigError: If there is no such section.
    """
    sections = _sections()
    if section not in sections:
        raise ConfigError(
            f"--help {section}: there is no such section.{did_you_mean(section, sections)} "
            f"affectgpt {verb} --help explains {', '.join(sections)}"
        )
    how, arguments = sections[section]
    return "\n".join([how, *_table(arguments)])


def _sections() -> dict[str, tuple[str, dict[str, str]]]:
    """How the arguments of each section are written, and each with a sentence."""
    from affectgpt.datamodules import MERCaptionDataModule
    from affectgpt.model import AffectGPT
    from affectgpt.training.optim import OptimSpec

    data = "data, as --data.name NAME and --data.args.NAME VALUE; for mercaption:"
    return {
        "model": ("model, as --model.NAME VALUE:", arguments_of(AffectGPT)),
        "optim": ("optimiser, as --model.optim.NAME VALUE:", arguments_of(OptimSpec)),
        "data": (data, arguments_of(MERCaptionDataModule)),
        "trainer": ("trainer, as --trainer.NAME VALUE; the most used:", OF_TRAINER),
    }


def arguments_of(cls: type) -> dict[str, str]:
    """Each argument of a class with the first sentence that its docstring says about it.

    Examples:
        >>> from affectgpt.training.optim import OptimSpec
        >>> arguments_of(OptimSpec)["lr"]
        'Learning rate after the warm-up.'
    """
    found: dict[str, str] = {}
    section = re.search(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", inspect.getdoc(cls) or "", re.MULTILINE)
    for entry in re.split(r"\n(?=    \w)", "" if section is None else section.group(1).rstrip()):
        name, _, text = " ".join(entry.split()).partition(": ")
        sentence, stop, _ = text.partition(". ")
        found[name] = (sentence + ("." if stop else "")).replace("``", "")
    return found


def _table(rows: dict[str, str]) -> Iterator[str]:
    width = min(30, max(map(len, rows)))
    for name, text in rows.items():
        yield from textwrap.wrap(f"  {name:<{width}}  {text}", 110, subsequent_indent=" " * (width + 4))
