"""The verbs ``fit``, ``validate`` and ``test``, and ``predict`` on shards: Lightning's own command line."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from affectgpt.checkpoints.config_file import stored_config
from affectgpt.checkpoints.shard_folder import is_shard_folder
from affectgpt.cli.answers_file import PredictionFile
from affectgpt.cli.launched import check_launcher
from affectgpt.cli.parser_errors import explain
from affectgpt.cli.run_document import run_document, written_checkpoints
from affectgpt.cli.start import lay_over, take_model
from affectgpt.cli.terminal import quiet, say, say_json
from affectgpt.cli.train_help import EXAMPLE, section_help, short_help
from affectgpt.cli.untrained import UNTRAINED_HELP, refuse_untrained
from affectgpt.deferred_weights import deferring
from affectgpt.encoders.precomputed import PrecomputedEncoder
from affectgpt.errors import ConfigError, RankError
from affectgpt.features.feeding import feature_folders
from affectgpt.files import write_whole
from affectgpt.model import AffectGPT
from affectgpt.model.objective import learn_by
from affectgpt.registry import DATAMODULES, OBJECTIVES, Spec
from affectgpt.training.data_setup import DataSetup
from affectgpt.training.measured_memory import MeasuredMemory
from affectgpt.training.out_of_memory import MemoryNotes, ran_out_of_memory
from affectgpt.training.rank_watch import RankWatch
from affectgpt.training.resume_report import ResumeReport
from affectgpt.training.run_folder import RunFolder
from affectgpt.training.safeguards import add_safeguards
from affectgpt.training.sharding import ShardedStrategy
from affectgpt.training.start_report import describe_run
from affectgpt.training.step_profile import SUMMARY, TRACE, StepProfile
from affectgpt.training.stop_signals import StopTogether
from affectgpt.training.tensor_parallel import TensorParallelStrategy
from affectgpt.training.watching import add_watching, check_loggers
from affectgpt.web import strip_secrets


class CleanConfigFile(SaveConfigCallback):
    """Writes ``config.yaml`` without the passwords and signatures of URLs, which the next run must be given again."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **options: Any) -> None:
        clean = config.clone()
        for name, value in config.items():
            clean[name] = strip_secrets(value)
        super().__init__(parser, clean, **options)


class AffectCLI(LightningCLI):
    """Lightning's command line, with ``data`` as a registered name and its arguments.

    Args:
        stop: The handler of SIGTERM.
        held: Resources of the run, such as locks, released when it is closed.
        start: The model's arguments if training starts from a stored model; the parser does not see them.
        options: See ``LightningCLI``.
    """

    def __init__(
        self, stop: StopTogether, held: ExitStack, *, start: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.stop = stop
        self.held = held
        self.start = start
        self.plan: list[str] = []
        super().__init__(**options)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``trainer``, ``model`` and ``data``."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{k}": v for k, v in self.trainer_defaults.items() if k != "callbacks"})
        if self.start is None:
            parser.add_class_arguments(AffectGPT, "model", fail_untyped=False, instantiate=False)
        else:
            parser.add_argument("--model", type=dict[str, Any], default={})
        parser.add_argument("--data", type=Spec, help="a registered datamodule: its name and its args")
        parser.add_argument("--objective", type=Spec | None, help="fit: what to learn by in place of given answers")
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="fit: replace the checkpoints of another configuration in the folder",
        )
        parser.add_argument(
            "--rank_timeout", type=float, default=300.0, help="fit: seconds after which a silent rank ends the run"
        )
        parser.add_argument(
            "--dry_run", action="store_true", help="fit: show the plan and the memory of the run, and stop"
        )
        parser.add_argument(
            "--profile", action="store_true", help="fit: end after 13 steps, and tell where the time of ten went"
        )
        parser.add_argument(
            "--memory", action="store_true", help="fit: end after 2 steps, and tell the memory they took"
        )
        parser.add_argument("--untrained", action="store_true", help=f"validate, test, predict: {UNTRAINED_HELP}")
        parser.add_argument(
            "--start", type=str | None, help="a saved folder, .ckpt or hub id: the model to train on from"
        )
        parser.add_argument(
            "--allow_import",
            action="store_true",
            help="import registered modules that the model of --start names as code",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the arguments.

        Raises:
            ConfigError: If a key or a value is wrong; valid ones are named.
        """
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            known = self._subcommand_parsers[args[0]].get_defaults(skip_validation=True)
            raise ConfigError(explain(str(error), known.keys())) from error

    def before_instantiate_classes(self) -> None:
        """Reject models without trained weights for answering and scoring, and loggers that are not installed.

        Raises:
            ConfigError: If neither a checkpoint nor a stored model is named, or a logger is not installed.
        """
        config = self.config[self.subcommand]
        check_loggers(config.trainer.logger)
        if self.subcommand == "fit" and config.profile and config.memory:
            raise ConfigError("--profile and --memory end a run after some steps each; give one of them")
        if self.subcommand != "fit" and config.ckpt_path is None and config.start is None:
            refuse_untrained(
                str(self.subcommand),
                "the configuration describes a model, but no trained weights are named",
                "Name them with --ckpt_path runs/.../last.ckpt, or --start FOLDER for a shared model; --untrained "
                "if this is intended",
                allowed=config.untrained,
            )

    def _parse_ckpt_path(self) -> None:
        """Keep the given configuration.

        Lightning would silently overwrite it with the checkpoint's; here a checkpoint with another configuration is
        refused when it is loaded.
        """

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer, with the callbacks that keep a run from losing anything silently."""
        self.config[self.subcommand].model = self.shown_model  # for the configuration that the run saves
        tried = self.subcommand == "fit" and (self.given["profile"] or self.given["memory"])
        try:
            trainer = super().instantiate_trainer(**{**kwargs, **(self._for_trial() if tried else {})})
        except ValueError as error:  # such as another number of ranks than the launcher has started
            raise ConfigError(f"trainer: {error}") from error
        check_launcher(trainer)
        if self.subcommand == "fit":
            config = self.given
            folder = self.held.enter_context(RunFolder(config, overwrite=config["overwrite"]))
            self.report = ResumeReport(config, lambda line: say(line, err=True))
            self.memory = MemoryNotes()
            trainer.callbacks.insert(0, self.memory)  # type: ignore[attr-defined]
            self.watch = self.held.enter_context(
                RankWatch(config["rank_timeout"], _end_process, lambda: self.stop.told)
            )
            add_safeguards(trainer, self.stop, folder, self.report, self.watch, config["seed_everything"])
            logger = False if tried else config["trainer"]["logger"]
            add_watching(trainer, logger, lambda line: say(line, err=True))
            if tried:
                callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
                callbacks[:] = [one for one in callbacks if not isinstance(one, SaveConfigCallback)]
                callbacks.append(StepProfile(trainer.default_root_dir) if config["profile"] else MeasuredMemory(say))
        return trainer

    def _for_trial(self) -> dict[str, Any]:
        """Arguments of a trainer that ends when its steps are measured, and leaves no trace of a run."""
        given = self.config_init[self.subcommand].trainer.callbacks or []
        kept = [one for one in (given if isinstance(given, list) else [given]) if not isinstance(one, Checkpoint)]
        off = {"logger": False, "enable_checkpointing": False, "limit_val_batches": 0, "num_sanity_val_steps": 0}
        return {**off, "callbacks": kept, "max_steps": -1, "max_epochs": -1}

    def plain_config(self) -> dict[str, Any]:
        """The configuration of the verb as plain values."""
        parser = self._parser(self.subcommand)
        plain: dict[str, Any] = yaml.safe_load(parser.dump(self.config[self.subcommand], skip_none=False))
        return plain if self.start is None else {**plain, "model": dict(self.start)}

    def fit(self, model: AffectGPT, **options: Any) -> None:
        """Train; an error that came from another rank names it.

        Raises:
            ConfigError: If the memory does not hold a batch.
            RankError: If another rank is gone.
        """
        if self.config.fit.dry_run:
            self.plan = list(describe_run(self.trainer, model, options["datamodule"]))
            for line in self.plan:
                say(line)
            return
        DataSetup(options["datamodule"])
        try:
            self.trainer.fit(model, **options)
        except Exception as error:
            if ran_out_of_memory(error):
                raise ConfigError(self.memory.explain(error)) from error
            if self.watch.lost is not None:
                raise RankError(self.watch.lost) from error
            raise

    def after_fit(self) -> None:
        """Print what was written and the next step, or that a resumed run had nothing left to do."""
        if not self.trainer.is_global_zero or self.config.fit.dry_run or self.given["memory"]:
            return
        if self.given["profile"]:
            say(Path(self.trainer.default_root_dir, SUMMARY).read_text("utf-8"))
            say(f"wrote {Path(self.trainer.default_root_dir, TRACE)}: open it at https://ui.perfetto.dev")
            return
        if self.report.resumed_step is not None and self.report.resumed_step == self.trainer.global_step:
            made = f"{self.trainer.current_epoch} epochs and {self.trainer.global_step} steps"
            limits = f"trainer.max_epochs={self.trainer.max_epochs}, trainer.max_steps={self.trainer.max_steps}"
            say(f"nothing to do: the run was finished after {made}; {limits}. Raise them to train on", err=True)
            return
        written = written_checkpoints(self.trainer)
        if written:
            say(f"wrote {', '.join(written)}")
            say(f"next: affectgpt predict clip.mp4 --checkpoint {written[0]}")

    def after_validate(self) -> None:
        """Write the figures to a file."""
        self._write_figures("validate")

    def after_test(self) -> None:
        """Write the figures to a file."""
        self._write_figures("test")

    def _write_figures(self, verb: str) -> None:
        if not self.trainer.is_global_zero:
            return
        figures = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        path = Path(self.trainer.default_root_dir, f"{verb}.json")
        checkpoint = str(self.trainer.ckpt_path or self.config[self.subcommand].start or "untrained")
        write_whole(path, json.dumps({"checkpoint": checkpoint, "figures": figures}, indent=2) + "\n")
        say(f"wrote {path}")
        say(f"next: affectgpt bench --model {checkpoint} --data FOLDER --out FOLDER")

    def instantiate_classes(self) -> None:
        """Build the parts; the datamodule gets the model's media profile and style.

        Where all shards of the run hold features, the encoders that they make needless are not loaded. That is not
        written into the saved configuration, which fits other shards too.
        """
        config = self.config[self.subcommand]
        model = dict(self.start) if self.start is not None else config.model.as_dict()
        if config.data is not None and model.get("features") is None:
            spec = Spec(config.data.name, config.data.args)
            model["features"] = feature_folders(DATAMODULES.build(spec), str(self.subcommand))
        self.given = self.plain_config()
        # The model's arguments are data: the parser would import and call what a "class_path" in them names.
        shown = config.pop("model")
        self.shown_model = shown if self.start is None else dict(self.start)
        super().instantiate_classes()
        shares = isinstance(self.trainer.strategy, ShardedStrategy | TensorParallelStrategy)
        shapes_first = shares or config.get("dry_run")
        with deferring() if shapes_first else nullcontext():
            self.model = AffectGPT.from_config(model)
        for name, encoder in self.model.encoders.items():
            if isinstance(encoder, PrecomputedEncoder) and encoder.key is not None and self.trainer.is_global_zero:
                key = encoder.key.digest
                say(f"{name}: from stored features (key {key}); its encoder is not loaded", err=True)
        if self.datamodule is None:
            raise ConfigError(
                "the configuration has no 'data': name a datamodule, such as {name: mercaption, args: ...}"
            )
        if config.start is not None:
            self.model.start_from(config.start)
        if config.objective is not None and self.subcommand == "fit":
            learn_by(self.model, OBJECTIVES.build(Spec(config.objective.name, config.objective.args)))
        media, style = self.model.media.to_json(), self.model.style.name
        self.datamodule = DATAMODULES.build(self.datamodule, media=media, style=style)


def run(verb: str, argv: Sequence[str]) -> int:
    """Run one of Lightning's verbs.

    Raises:
        ConfigError: If the configuration or an argument is wrong.
    """
    if asked := {"-h", "--help"} & {*argv}:
        sections = argv[[*argv].index(asked.pop()) + 1 :][:1]
        say(section_help(verb, sections[0]) if sections and not sections[0].startswith("-") else short_help(verb))
        return 0
    spelt = {"--help-all": "--help", "--allow-import": "--allow_import", "--dry-run": "--dry_run"}
    argv = [spelt.get(arg, arg) for arg in argv]
    as_json = "--json" in argv
    argv = [arg for arg in argv if arg != "--json"]
    if as_json and any(arg.startswith("--print_config") for arg in argv):
        raise ConfigError("--print_config prints YAML; leave --json out")
    flags = [piece for arg in argv for piece in (arg.split("=", 1) if arg.startswith("--") else [arg])]
    for flag, path in pairwise(flags):
        if flag in ("--config", "-c") and not Path(path).is_file():
            raise ConfigError(f"no configuration at {path}; the folder experiments/ of the project has some")
        known = flag != "--ckpt_path" or path in ("last", "best") or is_shard_folder(path) or Path(path).exists()
        if not known:
            raise ConfigError(f"no checkpoint at {path}")
    callbacks: list[Any] = [PredictionFile()] if verb == "predict" else []
    if sys.stdout.isatty():
        callbacks.append(RichProgressBar())
    quiet()
    argv, model = _start_of(argv, flags)
    if model is None:
        _check_media(flags)
    stop = StopTogether()
    try:
        with ExitStack() as held:
            held.enter_context(stop.patience())
            ran = AffectCLI(
                stop,
                held,
                start=model,
                model_class=AffectGPT,
                args=[verb, *argv],
                seed_everything_default=42,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                save_config_callback=CleanConfigFile,
                save_config_kwargs={"overwrite": True},
                trainer_defaults={"callbacks": callbacks, "default_root_dir": "runs"},
                parser_kwargs={
                    "description": f"affectgpt {verb}",
                    "epilog": EXAMPLE,
                    "exit_on_error": False,
                    **{name: {"exit_on_error": False} for name in ("fit", "validate", "test", "predict")},
                },
            )
    except SIGTERMException:  # Lightning would exit with 0
        return 128 + signal.SIGTERM
    if as_json and ran.trainer.is_global_zero:
        say_json(json.dumps(run_document(verb, ran.trainer, ran.plan), indent=2))
    return 0


def _end_process(message: str) -> None:
    """End the process at once: the main thread waits for a rank that will not answer."""
    say(f"error: {message}", err=True)
    os._exit(1)


def _start_of(argv: Sequence[str], flags: Sequence[str]) -> tuple[Sequence[str], dict[str, Any] | None]:
    """The rest of the command line and the model's arguments, where training starts from a stored model."""
    start = next((path for flag, path in pairwise(flags) if flag == "--start"), None)
    if start is None:
        return argv, None
    rest, given = take_model(argv)
    return rest, lay_over(stored_config(start, allow_import="--allow_import" in flags), given)


def _check_media(flags: Sequence[str]) -> None:
    """Reject a single field over a profile's bare name, which the parser would replace by the default profile."""
    fields = [flag for flag in flags if flag.startswith("--model.media.")]
    files = [Path(path) for flag, path in pairwise(flags) if flag in ("--config", "-c")] if fields else []
    for path in reversed(files):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            return  # the parser reports what is wrong
        model = content.get("model") if isinstance(content, dict) else None
        media = model.get("media") if isinstance(model, dict) else None
        if isinstance(media, str):
            raise ConfigError(
                f"{fields[0]} would replace 'media: {media}' of {path} as a whole; write media: {{profile: {media}}} "
                "there, of which single fields can be changed"
            )
        if media is not None:
            return
