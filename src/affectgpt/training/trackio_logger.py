"""Logs a run with trackio, whose dashboard needs neither an account nor a network."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from affectgpt.errors import ConfigError


class TrackioLogger(Logger):
    """A logger of Lightning that writes to trackio; ``trackio show --project PROJECT`` opens the dashboard.

    What is logged lies in the user's cache folder, or where the environment variable ``TRACKIO_DIR`` says.

    Args:
        project: Name under which runs are compared.
        name: Name of the run; trackio invents one by default.
        save_dir: Folder for the run's own files, such as its configuration and examples of answers.
        options: Further arguments of ``trackio.init``, such as ``space_id``.

    Raises:
        ConfigError: If trackio is not installed.
    """

    def __init__(
        self,
        project: str,
        name: str | None = None,
        save_dir: str = "runs",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        try:
            import trackio
        except ImportError as error:
            raise ConfigError(
                f"TrackioLogger needs trackio ({error}): run pip install 'affectgpt[trackio]', or leave the logger out"
            ) from error
        self._trackio = trackio
        self._project = project
        self._name = name
        self._save_dir = save_dir
        self._options = dict(options or {})
        self._config: dict[str, Any] = {}
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """Name of the run."""
        return self._name or "run"

    @property
    def save_dir(self) -> str:
        """Where Lightning keeps the run's own files."""
        return self._save_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of trackio, begun at its first use."""
        if self._run is None:
            options = {"embed": False, "config": self._config, **self._options}
            self._run = self._trackio.init(project=self._project, name=self._name, **options)
            self._name = self._run.name
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keep the settings; those that come before the first figure are stored with the run."""
        self._config |= vars(params) if isinstance(params, Namespace) else dict(params)
        if self._run is not None:  # Lightning begins it before any hook; it sends its settings with the first figure
            self._run.config.update(self._config)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log figures."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def log_text(
        self, key: str, columns: Sequence[str], data: Sequence[Sequence[str]], step: int | None = None
    ) -> None:
        """Log texts as a table, as Lightning's ``WandbLogger`` does."""
        table = self._trackio.Table(columns=list(columns), data=[list(row) for row in data])
        self.experiment.log({key: table}, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left, and end the run of trackio."""
        if self._run is not None:
            self._trackio.finish()
            self._run = None
