"""The model as Lightning trains it: steps, logging, optimiser, sharding, loading and saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn

from affectgpt.checkpoints import model_folder, training_file
from affectgpt.checkpoints.config_file import check_arguments, read_config
from affectgpt.checkpoints.history import History
from affectgpt.checkpoints.official import convert
from affectgpt.deferred_weights import take_deferred
from affectgpt.encoders.base import Encoder
from affectgpt.encoders.streams import StreamSpec, read_streams, sources_of
from affectgpt.features.feeding import check_checkpoint
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.llm.base import LLMHead
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.base import Asr
from affectgpt.model.answer import answer_batch, answer_clip
from affectgpt.model.datamodule_check import DatamoduleCheck
from affectgpt.model.network import Network
from affectgpt.model.output import Output
from affectgpt.model.recorded_settings import record_settings
from affectgpt.model.sample_length import SampleLength
from affectgpt.model.steps import Steps
from affectgpt.model.training_note import TrainingNote
from affectgpt.part import Part, in_eval_mode
from affectgpt.registry import Spec
from affectgpt.training.modality_dropout import ModalityDropout
from affectgpt.training.optim import OptimSpec, build_optimizer
from affectgpt.training.share_weights import share_weights
from affectgpt.training.train_only import freeze_all_but
from affectgpt.types import Batch, Prediction


class AffectGPT(Part):
    """The model of the paper: a ``Network`` of registered parts, with training, storage and prediction around it.

    Args:
        streams: Stream name to its spec. The name is the stream's slot in the prompt.
        llm: The language model.
        prefusion: What joins streams before the LLM; ``none`` to join nothing.
        prefusion_inputs: Streams to join, in order; by default the first of each modality: picture, sound, others.
        style: Wording of the prompt: ``official`` or ``brief``.
        max_tokens: Longest sequence, in tokens, answer included.
        max_new_tokens: Longest answer that the model writes, in tokens.
        media: How clips are decoded: a named profile (``official``), or the fields of ``MediaProfile``; its sources
            follow from the streams.
        optim: Optimiser settings, see ``OptimSpec``.
        slot_dropout: Share of stream tokens, and of ``multi`` tokens, that a training prompt leaves out at random.
        modality_dropout: What training samples lose at random, see ``ModalityDropout``; nothing by default.
        slots: What the prompt shows: names of streams, ``multi``, ``subtitle``; by default everything. A stream that is
            not shown still takes part in the pre-fusion, as long as ``multi`` is.
        wheel: Vocabulary of the validation metrics: ``builtin``, or the folder of the official tables.
        official: Metadata of the released checkpoint that the model was built from; set by ``from_official``.
        features: Feature shards that the model will be fed from. Encoders that they replace are not loaded, see
            ``affectgpt.features.feeding.stand_ins``. A checkpoint loads as the full model all the same.
        projector: What maps the tokens of each slot to the LLM's width; the published one is ``linear``.
        loss: What the loss is a mean of: the supervised ``tokens`` of a whole optimiser step, its ``samples``, or its
            batches (``official``); see ``affectgpt.training.step_loss``.
        packing: Lay the samples of a training batch end to end: no padding, the same loss and gradients. Not stored.
        answered_val_batches: Batches of a validation, the first of each rank, that are answered and scored; all by
            default. Its loss is that of all batches. Not stored.
        allow_import: Whether parts may be named as code, ``package.module:Class``, and ``wheel`` may be a folder;
            ``False`` for a model that others stored.

    Attributes:
        specs: Stream name to its spec.
        media: How clips are decoded.
        style: The wording of the prompt.
        slots: What the prompt shows.
        record: Its trainings, and where its weights come from.

    Raises:
        ConfigError: If a part is unknown, an argument is wrong, or the parts do not fit together.
    """

    network: Network
    encoders: nn.ModuleDict
    llm: LLMHead

    def __init__(
        self,
        streams: Mapping[str, StreamSpec | str],
        llm: Spec | str,
        prefusion: Spec | str = "attention",
        prefusion_inputs: Sequence[str] | None = None,
        style: str = "official",
        max_tokens: int = 1024,
        max_new_tokens: int = 128,
        media: dict[str, Any] | str | MediaProfile | None = None,
        optim: OptimSpec | None = None,
        slot_dropout: float = 0.0,
        modality_dropout: dict[str, Any] | None = None,
        wheel: str = "builtin",
        official: Mapping[str, Any] | None = None,
        slots: list[str] | None = None,
        features: str | list[str] | None = None,
        projector: Spec | str = "linear",
        loss: str = "tokens",
        packing: bool = False,
        answered_val_batches: int | None = None,
        allow_import: bool = True,
    ) -> None:
        specs = read_streams(streams)
        profile = MediaProfile.of(media).reading(sources_of(specs))
        self.optim = OptimSpec.of(optim)
        super().__init__()
        parts = {"llm": llm, "prefusion": prefusion, "projector": projector}
        record_settings(self.hparams, specs, parts, media=profile, optim=self.optim)
        self.strict_loading = False  # frozen weights may be left out; on_load_checkpoint compares the names
        self.slot_dropout, self.modality_dropout = slot_dropout, ModalityDropout.of(modality_dropout)
        self.max_new_tokens = max_new_tokens
        network = Network(
            specs,
            Spec.of(llm),
            prefusion=Spec.of(prefusion),
            prefusion_inputs=prefusion_inputs,
            projector=Spec.of(projector),
            style=style,
            max_tokens=max_tokens,
            media=profile,
            slots=slots,
            features=features,
            carried=(official or {}).get("carried", {}),
            allow_import=allow_import,
            packing=packing,
        )
        # One table of submodules for both, and the network is no child of this module: FSDP2 must shard the one module
        # whose forward is called, and the names of stored tensors have no "network." in front.
        object.__setattr__(self, "network", network)
        self._modules = network._modules
        self.specs, self.media, self.style, self.slots = network.specs, network.media, network.style, network.slots
        freeze_all_but(network, self.optim.train_only)
        self.steps = Steps(loss, wheel, may_read=allow_import, answered_val_batches=answered_val_batches)
        self._deferred = take_deferred()
        self.record = History()

    def encoder(self, name: str) -> Encoder:
        """The encoder of a stream."""
        return self.network.encoder(name)

    def forward(
        self,
        batch: Batch,
        max_new_tokens: int | None = None,
        hide: Sequence[str] = (),
        sampling: AnswerSampling | None = None,
    ) -> Output:
        """Answer a batch, or compute the loss of its answers, see ``Network.forward``; in training, slots drop out."""
        dropout = self.slot_dropout if self.training else 0.0
        out: Output = self.network(batch, max_new_tokens, hide, dropout, sampling)
        return out

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        max_new_tokens: int | None = None,
        hide: Sequence[str] = (),
        sampling: AnswerSampling | Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Write answers, as a batch with a key-value cache; ``answer_set`` is for more than a batch.

        Args:
            batch: Clips and questions, on the model's device.
            max_new_tokens: Longest answer; the model's own limit by default.
            hide: Slots to leave out, see ``Network.forward``.
            sampling: How tokens are drawn, such as ``{"temperature": 0.7, "seed": 1}``; greedily by default.

        Returns:
            ``sampling.num_answers`` texts a sample; all answers of the first sample come first.

        Raises:
            ConfigError: If a setting of ``sampling`` is unknown or out of its range.
        """
        with in_eval_mode(self):
            return list(self(batch, max_new_tokens or self.max_new_tokens, hide, AnswerSampling.of(sampling)).texts)

    def predict(
        self,
        clip: str | Path | bytes | None,
        subtitle: str | None = None,
        *,
        question: str | None = None,
        audio: str | Path | bytes | None = None,
        max_new_tokens: int | None = None,
        key: str | None = None,
        face_detector: str | Mapping[str, Any] | None = "centerface",
        asr: Asr | str | Mapping[str, Any] | None = None,
        **files: str | Path | bytes | None,
    ) -> Prediction:
        """Answer one clip.

        Args:
            clip: A media file, or its bytes; ``None`` for a clip that has only files of its sources.
            subtitle: Spoken words, if known.
            question: The question; by default it asks for all possible emotional states, as published.
            audio: A separate sound file to use in place of the clip's own track.
            max_new_tokens: Longest answer, in tokens.
            key: Name of the clip in messages; by default the file's name.
            face_detector: Finds the face for a stream that reads ``face``; ``None`` leaves the face out.
            asr: Transcribes a clip without subtitle: an ``Asr``, or ``NAME:MODEL`` from ``ASRS``.
            files: The files of sources from plug-ins, by name: ``physiology="clip.csv"``.

        Raises:
            ConfigError: If a file is given for a source that the model does not read.
            DataError: If a file cannot be decoded.
        """
        with in_eval_mode(self):
            return answer_clip(self, clip, subtitle, question, audio, max_new_tokens, key, face_detector, asr, files)

    def watch(self, film: str | Path, **options: Any) -> Any:
        """Answer every utterance and person of a film of any length; see ``affectgpt.watch.watch``."""
        return import_module("affectgpt.watch").watch(self, film, **options)  # a room above this one

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """What the backward pass of one batch begins from; the loss, a mean over the step, is logged as ``train/loss``.

        Raises:
            ConfigError: If the batch has no answers.
        """
        return self.steps.train(self, batch)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step with the gradients of the mean over the whole step, see ``affectgpt.training.step_loss``."""
        super().optimizer_step(epoch, batch_idx, optimizer, self.steps.closure(self, optimizer_closure))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and wheel score of one batch."""
        self.steps.evaluate(self, "val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and wheel score of one batch."""
        self.steps.evaluate(self, "test", batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Answers of one batch."""
        return answer_batch(self, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the wheel score of the epoch."""
        self.steps.finish(self, "val")

    def on_test_epoch_end(self) -> None:
        """Log the loss and the wheel score of the epoch."""
        self.steps.finish(self, "test")

    def configure_callbacks(self) -> list[lightning.Callback]:
        """Add the check that the datamodule fits the model, the note of the training, and what the objective brings."""
        return [DatamoduleCheck(), TrainingNote(), *self.steps.callbacks()]

    def sample_check(self) -> SampleLength:
        """The check by which the datamodule finds samples that do not fit into a prompt, before a step does."""
        return SampleLength.of(self.network)

    def configure_optimizers(self) -> Any:
        """AdamW with its learning-rate schedule, see ``OptimSpec``."""
        optimizer, schedule = build_optimizer(self.named_parameters(), self.optim)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def configure_model(self) -> None:
        """Share the weights among ranks, if the strategy asks for it, and read those that are not read yet."""
        self._deferred = share_weights(self, self._deferred)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the model is and how it came about; leave out frozen weights that come from other files."""
        training_file.add_facts(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that has another configuration or was trained on features of other encoders.

        Raises:
            CheckpointError: If a setting that changes what is computed, the prompt style, the names of tensors or the
                encoders differ.
        """
        training_file.take_facts(self, checkpoint)
        check_checkpoint(self.network, checkpoint.get("affectgpt", {}).get("features", {}))

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | Path) -> Self:
        """Build a model from plain JSON, or from a YAML file that holds it (alone, or under ``model``).

        Raises:
            ConfigError: If the file cannot be read or an argument is unknown.
        """
        config = read_config(config)
        check_arguments(cls, config)
        return cls(**config)

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, allow_import: bool = False) -> Self:
        """Rebuild a trained model, in eval mode, from the one file (``.ckpt``) that training wrote.

        Parts named ``package.module:Class`` in it are refused unless ``allow_import`` is true, for files you trust.

        Raises:
            CheckpointError: If the file cannot be read or does not fit the model.
        """
        return training_file.load(cls, path, allow_import=allow_import).eval()

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", **options: Any
    ) -> Self:
        """Same as ``from_checkpoint``, under Lightning's name: files loaded either way are checked."""
        return cls.from_checkpoint(checkpoint_path, **options).to(map_location)

    @classmethod
    def load(cls, source: str | Path, *, allow_import: bool = False) -> Self:
        """Load a model, in eval mode, from a ``.ckpt`` file, a folder that ``save_pretrained`` wrote, or a hub id."""
        read = cls.from_checkpoint if training_file.is_file(source) else cls.from_pretrained
        return read(source, allow_import=allow_import)

    def start_from(self, source: str | Path) -> None:
        """Start from the weights of a stored model, to train them further; see ``load``.

        Raises:
            CheckpointError: If it cannot be read, computes something else than this model, or has other tensors.
        """
        (training_file if training_file.is_file(source) else model_folder).start_from(self, source)

    @classmethod
    def from_official(cls, checkpoint: str | Path, *, layout: str | None = None, **networks: Any) -> Self:
        """Build the released model, in eval mode, from its checkpoint and the networks that it was trained over.

        ``networks`` (``clip``, ``hubert``, ``llm``) are folders or hub ids, see ``checkpoints.official.convert``, whose
        ``save_official`` writes such a checkpoint again.

        Raises:
            CheckpointError: If the file cannot be read, or does not fit the folders; every difference is listed.
            ConfigError: If the layout is neither given nor named by the file.
        """
        return convert.from_official(cls, checkpoint, layout, **networks).eval()

    def save_checkpoint(self, path: str | Path) -> None:
        """Write the model as one ``.ckpt`` file, which ``from_checkpoint`` reads; optimiser states are not in it."""
        training_file.save(self, path)

    def save_pretrained(
        self, folder: str | Path, *, paths: Mapping[str, str] | None = None, licence: str | None = None
    ) -> None:
        """Write a folder to share: configuration, weights as safetensors, a self-test, and a model card.

        Frozen weights that the parts read from files of their own are not written. ``paths`` says where others will
        find these files: stream name or ``llm`` to a hub id, which replaces the path that was used here. ``licence``
        of the weights, such as ``cc-by-nc-4.0``, is written on the card; by default that with which they were loaded.

        Raises:
            ConfigError: If a name in ``paths`` is neither a stream nor ``llm``.
        """
        model_folder.save(self, Path(folder), paths or {}, licence)

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
        """Load a model that ``save_pretrained`` or ``push_to_hub`` stored, in eval mode, and test it.

        Args:
            source: A folder, or an id on the hub.
            revision: Branch, tag or commit on the hub.
            paths: Where the frozen weights are, if not where the configuration says: stream name or ``llm`` to it.
            allow_import: See ``from_checkpoint``.
            self_test: Whether to run the stored inputs, a short prompt, and compare the outputs.

        Raises:
            CheckpointError: If the model cannot be read or does not fit, or the self-test gives other outputs.
        """
        stored = model_folder.read(source, revision, paths or {}, allow_import=allow_import)
        return model_folder.load(cls, stored, allow_import=allow_import, run_self_test=self_test).eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        paths: Mapping[str, str] | None = None,
        licence: str | None = None,
    ) -> str:
        """Store the model on the Hugging Face hub, as ``save_pretrained`` does in a folder; see ``model_folder.push``.

        Raises:
            ConfigError: If the configuration names a local folder, which others do not have.
            CheckpointError: If the hub refuses or cannot be reached.
        """
        return model_folder.push(self, repo_id, private, paths or {}, licence)
