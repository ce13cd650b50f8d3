"""The encoders of a model alone, so that clips can be encoded without loading a language model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from affectgpt.checkpoints import model_folder
from affectgpt.checkpoints.config_file import read_config
from affectgpt.checkpoints.io import load_checkpoint
from affectgpt.checkpoints.plugins import announce_versions, check_installed
from affectgpt.checkpoints.storable import only_our_errors
from affectgpt.checkpoints.training_file import plugin_notes
from affectgpt.datamodules.collate import collate
from affectgpt.encoders.base import Encoder
from affectgpt.encoders.build import build_encoder
from affectgpt.encoders.streams import StreamSpec, read_streams, sources_of
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.features.feeding import check_checkpoint
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import Spec
from affectgpt.training.halving import in_halves
from affectgpt.types import Clip

log = logging.getLogger(__name__)


class EncoderSet(nn.Module):
    """The frozen encoders of a model.

    Args:
        streams: The model's streams; trainable ones are left out.
        media: How the model expects clips to be decoded.
        names: Streams to encode; by default all, which must then be frozen.
        allow_import: Whether encoders may be named as code, ``package.module:Class``.

    Raises:
        ConfigError: If a stream cannot be stored: it is unknown, trainable, or has no encoder.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamSpec],
        media: MediaProfile | None = None,
        names: Sequence[str] | None = None,
        *,
        allow_import: bool = True,
    ) -> None:
        super().__init__()
        specs = read_streams(streams)
        self.media = MediaProfile.of(media).reading(sources_of(specs))
        chosen = tuple(specs) if names is None else tuple(names)
        for name in chosen:
            _check_storable(name, specs)
        # all are built, in the model's order, so that random weights equal the model's for the same seed
        built = {name: build_encoder(spec.encoder, allow_import=allow_import) for name, spec in specs.items()}
        self.encoders = nn.ModuleDict({name: built[name].freeze() for name in chosen})
        self.specs = {name: specs[name] for name in chosen}
        self.media_sources = tuple(
            dict.fromkeys(str(spec.source) for name, spec in specs.items() if name not in self.specs)
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | Path, names: Sequence[str] | None = None) -> Self:
        """The encoders of a model's configuration, or of a run's, as ``AffectGPT.from_config`` reads it.

        Raises:
            ConfigError: If the file cannot be read, or a stream cannot be stored.
        """
        config = read_config(config)
        return cls(config.get("streams", {}), config.get("media"), names)

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, names: Sequence[str] | None = None, *, allow_import: bool = False
    ) -> Self:
        """The encoders of a trained model.

        Args:
            path: A ``.ckpt`` file, or a folder that ``save_pretrained`` wrote.
            names: Streams to encode.
            allow_import: Whether parts named ``package.module:Class`` in its configuration may be imported.

        Raises:
            CheckpointError: If the file cannot be read or does not fit.
            ConfigError: If a stream cannot be stored.
        """
        if Path(path).is_dir():
            stored = model_folder.read(path, None, {}, allow_import=allow_import)
            config, tensors, trained_on, plugins = stored.config, stored.tensors, {}, stored.plugins
        else:
            checkpoint = load_checkpoint(path, allow_import=allow_import)
            config, tensors = checkpoint["hyper_parameters"], checkpoint["state_dict"]
            trained_on = checkpoint.get("affectgpt", {}).get("features", {})
            plugins = plugin_notes(checkpoint)
        with only_our_errors(path):
            check_installed(plugins, config, path, kinds=("source", "encoder"))
            announce_versions(plugins, config, path, kinds=("source", "encoder"))
            found = cls(config.get("streams", {}), config.get("media"), names, allow_import=allow_import)
            for name in found.specs:
                start = f"encoders.{name}."
                state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
                encoder = found.encoder(name)
                try:
                    if state or not encoder.restored_prefixes():
                        encoder.load_state_dict(state)
                        encoder.keep_weights()
                except RuntimeError as error:
                    raise CheckpointError(f"{path} does not fit the encoder of stream {name!r}: {error}") from error
            check_checkpoint(found, {name: key for name, key in trained_on.items() if name in found.specs})
        return found

    @property
    def device(self) -> torch.device:
        """The device of the encoders."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    def encoder(self, name: str) -> Encoder:
        """The encoder of a stream."""
        encoder = self.encoders[name]
        assert isinstance(encoder, Encoder)
        return encoder

    @torch.inference_mode()
    def encode(self, clips: Sequence[Clip]) -> list[dict[str, Tensor]]:
        """Encode clips as training would: in one batch, padded to equal length.

        Args:
            clips: Decoded clips; clips with different frame sizes are encoded separately. If the device has too little
                memory, the batch is halved.

        Returns:
            For each clip, stream name to ``[T, D]`` on the CPU; a stream whose source the clip lacks is left out.

        Raises:
            DataError: If the device has too little memory for one clip.
        """
        return in_halves(lambda part: self._encode(clips[part]), [clip.key for clip in clips], self.device)

    def _encode(self, clips: Sequence[Clip]) -> list[dict[str, Tensor]]:
        found: list[dict[str, Tensor]] = [{} for _ in clips]
        for source in sources_of(self.specs):
            shapes = {i: tuple(clip.media[source].shape[1:]) for i, clip in enumerate(clips) if source in clip.media}
            for shape in dict.fromkeys(shapes.values()):
                rows = [i for i, other in shapes.items() if other == shape]
                alone = [Clip(str(i), {source: clips[i].media[source]}) for i in rows]
                batch = collate(alone, [""] * len(rows), profile=self.media)
                num_steps = batch.keep[source].sum(1).tolist()
                batch = batch.to(self.device)
                for name, spec in self.specs.items():
                    if spec.source == source:
                        hidden = self.encoders[name](batch.media[source], batch.keep[source]).hidden.cpu()
                        for row, i in enumerate(rows):
                            found[i][name] = hidden[row, : num_steps[row]]
        return found


def _check_storable(name: str, specs: Mapping[str, StreamSpec]) -> None:
    if name not in specs:
        raise ConfigError(f"unknown stream {name!r}; known: {', '.join(specs)}")
    frozen = [other for other, spec in specs.items() if not spec.trainable]
    if specs[name].trainable:
        rest = f"encode the frozen ones alone (--streams {','.join(frozen)}), or " if frozen else ""
        raise ConfigError(
            f"stream {name!r} has trainable: true, so that its features change with every step and cannot be stored; "
            f"{rest}set trainable: false"
        )
    if Spec.of(specs[name].encoder).name == "precomputed":
        raise ConfigError(f"stream {name!r} is 'precomputed': it has no encoder to run; configure the real one")
