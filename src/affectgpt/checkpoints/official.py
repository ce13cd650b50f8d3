"""Reads and writes checkpoints in the released format, and says which model belongs to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from affectgpt.checkpoints.io import load_tensors
from affectgpt.checkpoints.official_names import (
    LAYOUTS,
    NETWORKS,
    NUM_POSITION_IDS,
    POSITION_IDS,
    Layout,
    official_name,
)
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.media.profile import MediaProfile

LORA_ALPHA = 32
"""Scale of the released adapters, over their rank (paper, appendix B)."""
CARRIED = "carried."
"""Start of our names of tensors that have no place in the layout at hand; the rest has ``/`` for ``.``."""
FUSIONS = ("mean", "attention", "qformer")


@dataclass(frozen=True)
class OfficialFile:
    """A checkpoint in the released format.

    Attributes:
        path: Where it lies.
        tensors: Released name to tensor: the trained weights only.
        config: The configuration of the run, as saved with it.
        epoch: The epoch after which it was saved.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    epoch: int | None

    @property
    def switches(self) -> Mapping[str, Any]:
        """The part of the configuration that says what the model computes."""
        return self.config["model"]  # type: ignore[no-any-return]

    def trained_layouts(self) -> list[str]:
        """The prompt layouts that the configuration names for its data sets; none where it names no data set."""
        sets = self.config.get("datasets") or {}
        named = [entry.get("face_or_frame") for entry in sets.values() if isinstance(entry, Mapping)]
        return list(dict.fromkeys(name for name in named if name))


def read_official(path: str | Path) -> OfficialFile:
    """Read a checkpoint in the released format: tensors and plain values only, nothing in the file is run.

    Raises:
        CheckpointError: If the file is missing, cannot be read, or is in another format.
    """
    loaded = load_tensors(path)
    tensors, config = loaded.get("model") or {}, loaded.get("config")
    is_model = isinstance(tensors, Mapping) and tensors and all(isinstance(t, Tensor) for t in tensors.values())
    if not is_model or not isinstance(config, Mapping) or not isinstance(config.get("model"), Mapping):
        ours = " It looks like one that affectgpt wrote: use from_checkpoint." if "hyper_parameters" in loaded else ""
        raise CheckpointError(
            f"{path} is no released AffectGPT checkpoint: it has {', '.join(map(repr, list(loaded)[:6]))}, expected "
            f"'model' with tensors and 'config' with the run's configuration.{ours}"
        )
    return OfficialFile(Path(path), dict(tensors), config, loaded.get("epoch"))


def choose_layout(file: OfficialFile, layout: str | None) -> str:
    """The prompt layout to build for: that of the file, or the one asked for where the file names none.

    Raises:
        CheckpointError: If the file was trained with another layout, or with one that is not read.
        ConfigError: If neither the file nor the caller names a layout.
    """
    known = ", ".join(LAYOUTS)
    trained = file.trained_layouts()
    if layout is None and len(trained) != 1:
        said = f"names several ({', '.join(trained)})" if trained else "names none"
        raise ConfigError(
            f"{file.path}: which prompt layout? Its configuration {said}. Give layout=..., one of: {known}"
        )
    chosen = layout or trained[0]
    if chosen not in LAYOUTS:
        raise CheckpointError(f"{file.path}: the prompt layout {chosen!r} is not read here; those that are: {known}")
    if trained and chosen not in trained:
        raise CheckpointError(
            f"{file.path} was trained with the prompt layout {', '.join(trained)}, but {chosen} was asked for; "
            "leave layout out, or take a checkpoint of that layout"
        )
    return chosen


def model_arguments(
    file: OfficialFile,
    layout: Layout | None,
    *,
    clip: str,
    hubert: str,
    llm: str,
    bert: str | None = None,
    encoder_dtype: str = "float32",
    llm_dtype: str = "bfloat16",
    attention: str = "auto",
) -> dict[str, Any]:
    """Arguments of the ``AffectGPT`` that computes what the file's model does.

    Args:
        file: The checkpoint.
        layout: Inputs to build for; ``None`` for all that the file has weights for, the visual stream called
            ``video``: the model whose tensors correspond to the file's one by one.
        clip: Folder or hub id of the visual encoder.
        hubert: Folder or hub id of the acoustic encoder.
        llm: Folder or hub id of the language model.
        bert: Folder of the BERT whose sizes the Q-Formers have; needed when they are not those of bert-base.
        encoder_dtype: Type of the encoders' weights.
        llm_dtype: Type of the language model's weights.
        attention: Attention backend of the language model, see ``CausalLM``.

    Raises:
        CheckpointError: If the file's configuration is of a kind that is not read.
    """
    switches = file.switches
    _check_networks(file, {"visual_encoder": clip, "acoustic_encoder": hubert, "llama_model": llm})
    heads, inner = _qformer_sizes(file, bert)
    qformer = {"num_heads": heads, "feedforward_dim": inner}

    def pooling(kind: str) -> dict[str, Any]:
        fusion, count = _fusion(file, f"{kind}_fusion_type"), int(switches[f"num_{kind}_query_token"])
        more = _qformer_args(file, kind) | qformer if fusion == "qformer" else {}
        return {"name": fusion, "args": {"num_tokens": count, **more}}

    image_tokens = {"name": "mean", "args": {"num_tokens": int(switches["num_image_query_token"])}}
    see = {"name": "clip", "args": {"path": clip, "dtype": encoder_dtype}}
    # all segments of a clip are normalised together, as published
    hear = {"name": "hubert", "args": {"path": hubert, "layers": 4, "dtype": encoder_dtype, "normalize": "clip"}}
    visual = "video" if layout is None else layout.visual
    streams: dict[str, Any] = {}
    if visual in ("video", "face", "frame"):
        source = "frame" if visual == "video" else visual
        streams[visual] = {"encoder": see, "pooling": pooling("video"), "source": source}
    if layout is None or layout.audio:
        streams["audio"] = {"encoder": hear, "pooling": pooling("audio")}
    if layout is None or layout.visual == "image":
        streams["image"] = {"encoder": see, "pooling": image_tokens}
    prefusion: dict[str, Any] = {"name": "none"}
    if layout is None or layout.multi:
        fusion = _fusion(file, "multi_fusion_type", ("attention", "qformer"))
        more = _qformer_args(file, "multi") | qformer if fusion == "qformer" else {}
        prefusion = {"name": fusion, "args": {"num_tokens": int(switches["num_multi_query_token"]), **more}}
    return {
        "streams": streams,
        "prefusion": prefusion,
        "prefusion_inputs": [visual, "audio"] if prefusion["name"] != "none" else [],
        "llm": {
            "name": "causal-lm",
            "args": {
                "path": llm,
                "lora": {"rank": _lora_rank(file), "alpha": LORA_ALPHA, "dropout": 0.05},
                "dtype": llm_dtype,
                "attention": attention,
                "tokens": {"bos": "<|im_start|>", "pad": "<|im_end|>"},
            },
        },
        "style": "official",
        "slots": None if layout is None else list(layout.slots),
        "media": MediaProfile.named("official", num_frames=_num_frames(file)).to_json(),
        "max_tokens": int(switches.get("max_length", 1024)),
        "max_new_tokens": 1200,
    }


def expected_tensors(complete: nn.Module) -> dict[str, tuple[str, torch.Size]]:
    """Released names of a model's trained tensors.

    Args:
        complete: The model of ``model_arguments(file, None, ...)``; may be on the meta device.

    Returns:
        Released name to our name and the shape. ``position_ids`` are not among them, see ``position_ids``.
    """
    found: dict[str, tuple[str, torch.Size]] = {}
    for name, parameter in complete.named_parameters():
        theirs = official_name(name)
        if parameter.requires_grad and theirs is not None:
            found[theirs] = (name, parameter.shape)
    return found


def has_tied_output(model: Any) -> bool:
    """Whether the language model's output layer is its embedding."""
    return bool(model.llm.network.config.tie_word_embeddings)


def position_ids(names: Mapping[str, Any]) -> dict[str, Tensor]:
    """The buffers that the released format keeps beside every Q-Former among ``names``."""
    starts = {name.split("_Qformer.bert.")[0] for name in names if "_Qformer.bert." in name}
    return {start + POSITION_IDS: torch.arange(NUM_POSITION_IDS)[None] for start in sorted(starts)}


def check_tensors(file: OfficialFile, expected: Mapping[str, tuple[str, torch.Size]], *, tied: bool) -> None:
    """Compare the file's tensors with those that its configuration and the folders ask for.

    Args:
        file: The checkpoint.
        expected: See ``expected_tensors``.
        tied: Whether the language model's output layer is its embedding; it then is in the file too.

    Raises:
        CheckpointError: If tensors are missing, unknown or of another shape; all are listed.
    """
    buffers = position_ids(expected)
    wanted = {name: shape for name, (_, shape) in expected.items()}
    extra = {"llama_model.base_model.model.lm_head.weight"} if tied else set()
    missing = sorted(wanted.keys() - file.tensors.keys())
    unknown = sorted(file.tensors.keys() - wanted.keys() - buffers.keys() - extra)
    misshapen = [
        f"{name} is {tuple(tensor.shape)}, expected {tuple(wanted[name])}"
        for name, tensor in file.tensors.items()
        if name in wanted and tensor.shape != wanted[name]
    ]
    changed = [name for name in buffers if name in file.tensors and not _counts_up(file.tensors[name])]
    problems = [("missing", missing), ("unknown", unknown), ("of another shape", misshapen), ("changed", changed)]
    told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in problems if names)
    if told:
        raise CheckpointError(
            f"{file.path} does not fit: {told}. Give the folders of the networks that it was trained with "
            "(language model, encoders), and the file as it was released"
        )


def place_tensors(
    file: OfficialFile, expected: Mapping[str, tuple[str, torch.Size]], layout: Layout, placed: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sort the file's tensors by where they go.

    Args:
        file: The checkpoint.
        expected: See ``expected_tensors``.
        layout: The inputs of the model at hand.
        placed: State dict of that model, or its names.

    Returns:
        Tensors under our names, and those without a place in this layout under their released names.
    """
    known: dict[str, Tensor] = {}
    carried: dict[str, Tensor] = {}
    for theirs, (ours, _) in expected.items():
        name = _in_layout(ours, layout)
        target = known if name in placed else carried
        target[name if name in placed else theirs] = file.tensors[theirs]
    return known, carried


def official_state(state: Mapping[str, Tensor], trained: set[str], layout: Layout, *, tied: bool) -> dict[str, Tensor]:
    """The tensors of one of our models under their released names.

    Args:
        state: State dict of a model that came from a released checkpoint.
        trained: Names in it that are trained.
        layout: The layout that it was built for.
        tied: See ``check_tensors``.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(CARRIED):
            found[name[len(CARRIED) :].replace("/", ".")] = tensor
        elif name in trained or (tied and name == "llm.network.base_model.model.lm_head.weight"):
            theirs = official_name(_complete(name, layout))
            if theirs is not None:
                found[theirs] = tensor
    return found | position_ids(found)


def _in_layout(name: str, layout: Layout) -> str:
    return name.replace(".video.", f".{layout.visual}.", 1) if layout.visual in ("face", "frame") else name


def _complete(name: str, layout: Layout) -> str:
    if layout.visual in ("face", "frame"):
        return name.replace(f".{layout.visual}.", ".video.", 1)
    return name


def _fusion(file: OfficialFile, key: str, known: tuple[str, ...] = FUSIONS) -> str:
    fusion = file.switches.get(key)
    if fusion not in known:
        raise CheckpointError(
            f"{file.path}: its configuration has {key}: {fusion!r}, which is not read here; known: {', '.join(known)}"
        )
    return str(fusion)


def _check_networks(file: OfficialFile, folders: Mapping[str, str]) -> None:
    """Compare the networks that the file names with those in the folders."""
    from transformers import AutoConfig

    for key, folder in folders.items():
        name, known = str(file.switches.get(key)), NETWORKS[key]
        if name not in known:
            raise CheckpointError(
                f"{file.path} was trained with {key} {name!r}, which is not read here; known: {', '.join(known)}"
            )
        try:
            found = AutoConfig.from_pretrained(folder).model_type
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"cannot read the {key} {name} from {folder!r}: {str(error).strip().splitlines()[0]} Give the folder "
                "with its config.json and weights, or a hub id where the hub can be reached"
            ) from error
        if found not in (known[name], f"{known[name]}_vision_model"):
            raise CheckpointError(
                f"{file.path} was trained with {key} {name}, a network of type {known[name]}, but {folder!r} holds one "
                f"of type {found}"
            )


def _qformer_sizes(file: OfficialFile, bert: str | None) -> tuple[int, int]:
    """Attention heads and inner width of the Q-Formers: those of bert-base, or of the given folder."""
    from transformers import AutoConfig

    if bert is not None:
        config = AutoConfig.from_pretrained(bert)
        return int(config.num_attention_heads), int(config.intermediate_size)
    width = next((t.shape[-1] for name, t in file.tensors.items() if name.endswith("_query_tokens")), 768)
    if width != 768:
        raise CheckpointError(
            f"{file.path}: its Q-Formers are {width} wide, not 768 as bert-base; give bert=, the folder of the BERT "
            "whose config.json says how many attention heads they have"
        )
    return 12, 3072


def _qformer_args(file: OfficialFile, kind: str) -> dict[str, int]:
    table = "video_frame_position_embedding" if kind == "video" else f"{kind}_position_embedding"
    try:
        queries, positions = file.tensors[f"{kind}_query_tokens"], file.tensors[f"{table}.weight"]
    except KeyError as error:
        raise CheckpointError(
            f"{file.path} lacks {error}, although its configuration says {kind}_fusion_type: qformer"
        ) from None
    return {"hidden_dim": queries.shape[-1], "max_steps": positions.shape[0]}


def _num_frames(file: OfficialFile) -> int:
    train = (file.switches.get("vis_processor") or {}).get("train") or {}
    return int(train.get("n_frms", 8))


def _lora_rank(file: OfficialFile) -> int:
    said = file.switches.get("lora_r")
    ranks = {tensor.shape[0] for name, tensor in file.tensors.items() if ".lora_A." in name}
    if len(ranks) != 1 or (said is not None and {int(said)} != ranks):
        raise CheckpointError(
            f"{file.path}: its adapters have the rank {sorted(ranks) or 'of none'}, its configuration says {said}"
        )
    return int(ranks.pop())


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _counts_up(ids: Tensor) -> bool:
    return torch.equal(ids.flatten(), torch.arange(ids.numel()))
