"""The ways of a whole model from and to files: training checkpoints, released checkpoints, saved folders, the hub."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch

from affectgpt.checkpoints import model_folder
from affectgpt.checkpoints.config_file import read_config
from affectgpt.checkpoints.io import SAME_MATHS, compare_config, compare_keys, load_checkpoint, refuse_imports
from affectgpt.checkpoints.official import released_config, released_file
from affectgpt.checkpoints.official.released_names import LAYOUTS
from affectgpt.errors import CheckpointError, ConfigError, did_you_mean
from affectgpt.files import draft
from affectgpt.media.profile import MediaProfile
from affectgpt.part import Part
from affectgpt.prompts.template import PromptStyle


class StoredModel(Part):
    """A model of parts that are read from files of their own, and what of it is stored."""

    style: PromptStyle

    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """Parts that may read weights from files of their own, by the start of their tensors' names."""

    @abstractmethod
    def restored_keys(self) -> Iterator[str]:
        """Names in the state dict that need not be in a checkpoint."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | Path) -> Self:
        """Build a model from plain JSON, or from a YAML file that holds it (alone, or under ``model``).

        Raises:
            ConfigError: If the file cannot be read or an argument is unknown.
        """
        config = read_config(config)
        known = [name for name in cls.__init__.__annotations__ if name != "return"]
        for name in config:
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigError(f"{cls.__name__} takes no argument {name!r}.{hint} It takes: {', '.join(known)}")
        return cls(**config)

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, allow_import: bool = False) -> Self:
        """Rebuild a trained model, in eval mode, from the one file that training wrote.

        Args:
            path: The ``.ckpt`` file.
            allow_import: Whether parts named ``package.module:Class`` in the file may be imported.

        Raises:
            CheckpointError: If the file cannot be read or does not fit.
        """
        checkpoint = load_checkpoint(path)
        if not allow_import:
            refuse_imports(checkpoint["hyper_parameters"], path)
        model = cls.from_config(checkpoint["hyper_parameters"])
        model.on_load_checkpoint(checkpoint)
        model._fill(checkpoint["state_dict"], path)
        return model.eval()

    @classmethod
    def load(cls, source: str | Path, *, allow_import: bool = False) -> Self:
        """Load a model, in eval mode, from a ``.ckpt`` file, a folder that ``save_pretrained`` wrote, or a hub id.

        Raises:
            CheckpointError: See ``from_checkpoint`` and ``from_pretrained``.
        """
        read = cls.from_checkpoint if _is_file(source) else cls.from_pretrained
        return read(source, allow_import=allow_import)

    def start_from(self, source: str | Path) -> None:
        """Take over the weights of a stored model, to train them further.

        Args:
            source: See ``load``.

        Raises:
            CheckpointError: If it cannot be read, computes something else than this model, or has other tensors.
        """
        if _is_file(source):
            checkpoint = load_checkpoint(source)
            self.on_load_checkpoint(checkpoint)
            self._fill(checkpoint["state_dict"], source)
            return
        stored = model_folder.read(source, None, {})
        compare_config(self.hparams, stored.config, SAME_MATHS)
        self._take(stored, True)

    @classmethod
    def from_official(
        cls,
        checkpoint: str | Path,
        *,
        clip: str | Path,
        hubert: str | Path,
        llm: str | Path,
        layout: str | None = None,
        bert: str | Path | None = None,
        encoder_dtype: str = "float32",
        llm_dtype: str = "bfloat16",
        attention: str = "auto",
    ) -> Self:
        """Build the released model, in eval mode, from its checkpoint and the networks that it was trained over.

        Fusions, token counts and adapters are those of the file's own configuration.

        Args:
            checkpoint: The released ``.pth`` file.
            clip: Folder or hub id of CLIP ViT-L/14.
            hubert: Folder or hub id of Chinese HuBERT-large.
            llm: Folder or hub id of Qwen2.5-7B-Instruct.
            layout: The prompt layout, as the authors call it, such as ``multiface_audio_face_text`` or
                ``multiframe_audio_frame_text``; by default the one that the file's configuration names.
            bert: Folder of the BERT whose sizes the Q-Formers have; only if they are not those of bert-base.
            encoder_dtype: Type of the encoders' weights.
            llm_dtype: Type of the frozen language model's weights; ``float32`` to compare numbers.
            attention: Attention backend of the language model.

        Raises:
            CheckpointError: If the file cannot be read, or does not fit the folders; every difference is listed.
            ConfigError: If the layout is neither given nor named by the file.
        """
        file = released_file.read_official(checkpoint)
        name = released_config.choose_layout(file, layout)
        options: dict[str, Any] = {
            **{key: str(value) for key, value in {"clip": clip, "hubert": hubert, "llm": llm}.items()},
            "bert": None if bert is None else str(bert),
            "encoder_dtype": encoder_dtype,
            "llm_dtype": llm_dtype,
            "attention": attention,
        }
        args = released_config.model_arguments(file, LAYOUTS[name], **options)
        with torch.device("meta"):  # shapes first: a file that does not fit is refused before gigabytes are read
            complete = cls(**released_config.model_arguments(file, None, **options))
            planned = cls(**args)
        expected = released_file.expected_tensors(complete)
        released_file.check_tensors(file, expected, tied=released_file.has_tied_output(complete))
        known, carried = released_file.place_tensors(file, expected, LAYOUTS[name], planned.state_dict())
        args["official"] = {
            "layout": name,
            "epoch": file.epoch,
            "config": dict(file.config),
            "carried": {theirs: list(tensor.shape) for theirs, tensor in carried.items()},
        }
        model = cls(**args)
        known |= {released_file.CARRIED + theirs.replace(".", "/"): tensor for theirs, tensor in carried.items()}
        model._fill(known, checkpoint)
        return model.eval()

    def save_official(self, path: str | Path) -> None:
        """Write the trained weights in the released format, for the authors' own code.

        Args:
            path: The ``.pth`` file to write. Optimiser and scaler are not in it; configuration and epoch are those of
                the file that the model came from, also after more training.

        Raises:
            CheckpointError: If the model did not come from a released checkpoint.
        """
        origin = self.hparams.get("official")
        if not origin:
            raise CheckpointError(
                "only a model that came from a released checkpoint can be written as one: the format has weights that "
                "other models lack, such as an image projector; use save_pretrained"
            )
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        state = released_file.official_state(
            self.state_dict(), trained, LAYOUTS[origin["layout"]], tied=released_file.has_tied_output(self)
        )
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        with draft(path) as file:
            torch.save({"model": state, "config": dict(origin["config"]), "epoch": origin["epoch"]}, file)

    def save_checkpoint(self, path: str | Path) -> None:
        """Write the model as one ``.ckpt`` file, which ``from_checkpoint`` reads; optimiser states are not in it."""
        checkpoint: dict[str, Any] = {"state_dict": self.state_dict(), "hyper_parameters": dict(self.hparams)}
        self.on_save_checkpoint(checkpoint)
        with draft(path) as file:
            torch.save(checkpoint, file)

    def save_pretrained(self, folder: str | Path, *, paths: Mapping[str, str] | None = None) -> None:
        """Write a folder to share: configuration, weights as safetensors, a self-test, and a model card.

        Frozen weights that the parts read from files of their own are not in it.

        Args:
            folder: Made if it is missing; files of the same names in it are replaced.
            paths: Where whoever loads the model finds those frozen weights: stream name or ``llm`` to a hub id, in
                place of the path that was used here.

        Raises:
            ConfigError: If a name in ``paths`` is no stream and not ``llm``.
        """
        model_folder.save(self, Path(folder), paths or {})

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        paths: Mapping[str, str] | None = None,
        allow_import: bool = False,
        self_test: bool = True,
    ) -> Self:
        """Load a model, in eval mode, that ``save_pretrained`` or ``push_to_hub`` stored, and test it.

        Args:
            source: A folder, or an id on the hub.
            revision: Branch, tag or commit on the hub.
            paths: Where the frozen weights are: stream name or ``llm`` to a folder or hub id, in place of what the
                stored configuration says.
            allow_import: Whether parts named ``package.module:Class`` in the configuration may be imported.
            self_test: Whether to run the stored inputs and compare the outcome; one pass over a short prompt.

        Raises:
            CheckpointError: If it cannot be read or does not fit, or the self-test has another outcome.
        """
        stored = model_folder.read(source, revision, paths or {})
        if not allow_import:
            refuse_imports(stored.config, stored.folder)
        model = cls.from_config(stored.config)
        model._take(stored, self_test)
        return model.eval()

    def push_to_hub(self, repo_id: str, *, private: bool = False, paths: Mapping[str, str] | None = None) -> str:
        """Store the model on the Hugging Face hub, as ``save_pretrained`` does in a folder.

        Args:
            repo_id: ``owner/name``; made if it is missing.
            private: Whether a new repository is private.
            paths: See ``save_pretrained``.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: If the configuration names a local folder, which nobody else would find.
            CheckpointError: If the hub refuses or cannot be reached.
        """
        return model_folder.push(self, repo_id, private, paths or {})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out frozen weights that the parts read from files of their own, and note the wording."""
        restored = set(self.restored_keys())
        if "state_dict" in checkpoint and not self.saves_shards():
            checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in restored}
        checkpoint["affectgpt"] = {"format": 1, "style_digest": self.style.digest()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another configuration.

        Raises:
            CheckpointError: If a setting that changes what is computed, the wording or the names of tensors differ.
        """
        theirs = checkpoint.get("hyper_parameters", {})
        # fields that did not exist when the checkpoint was written have their default
        theirs = {**theirs, "media": MediaProfile.of(theirs.get("media")).to_json()}
        compare_config(self.hparams, theirs, SAME_MATHS)
        digest = checkpoint.get("affectgpt", {}).get("style_digest")
        if not self.style.accepts(digest):
            raise CheckpointError(
                f"the wording of the prompt style {self.style.name!r} has changed since the checkpoint was written; "
                "use the version of affectgpt that wrote it"
            )
        if "state_dict" in checkpoint:
            compare_keys(self.state_dict(), checkpoint["state_dict"], self.restored_keys())
            self._keep_weights(checkpoint["state_dict"])

    def saves_shards(self) -> bool:
        """Whether training writes checkpoints in shards, which are read back key by key and must have them all."""
        return False

    def _take(self, stored: model_folder.Stored, self_test: bool) -> None:
        model_folder.check_style(stored, self.style)
        compare_keys(self.state_dict(), stored.tensors, self.restored_keys())
        self._keep_weights(stored.tensors)
        self._fill(stored.tensors, stored.folder)
        if self_test:
            model_folder.check_self_test(self, stored)

    def _keep_weights(self, names: Iterable[str]) -> None:
        """Note the parts whose own file does not hold what is about to be loaded: the next checkpoint must."""
        given = set(names).intersection(self.restored_keys())
        for start, part in self.parts().items():
            if any(name.startswith(start) for name in given):
                part.keep_weights()

    def _fill(self, tensors: Mapping[str, torch.Tensor], source: str | Path) -> None:
        """Load tensors whose names have been compared already."""
        try:
            self.load_state_dict(dict(tensors), strict=False)
        except RuntimeError as error:
            raise CheckpointError(f"{source} does not fit: {error}") from error


def stored_config(source: str | Path) -> dict[str, Any]:
    """The model's arguments in a ``.ckpt`` file, a saved folder, or a model on the hub.

    Raises:
        CheckpointError: If it cannot be read, or names code to import.
    """
    is_file = _is_file(source)
    config = load_checkpoint(source)["hyper_parameters"] if is_file else model_folder.read(source, None, {}).config
    refuse_imports(config, source)
    return dict(config)


def _is_file(source: str | Path) -> bool:
    return Path(source).is_file() or Path(source).suffix in (".ckpt", ".pth")
