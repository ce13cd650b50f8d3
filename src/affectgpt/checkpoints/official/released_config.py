"""Determines the model of a released checkpoint from the configuration in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectgpt.checkpoints.official.released_file import OfficialFile
from affectgpt.checkpoints.official.released_names import LAYOUTS, NETWORKS, Layout
from affectgpt.errors import CheckpointError, ConfigError, reason_of
from affectgpt.media.profile import MediaProfile

LORA_ALPHA = 32
"""Scale of the released adapters, divided by their rank (paper, appendix B)."""
FUSIONS = ("mean", "attention", "qformer")


def choose_layout(file: OfficialFile, layout: str | None) -> str:
    """The prompt layout to build for: the file's, or the given one if the file names none.

    Raises:
        CheckpointError: If the file was trained with another layout, or with an unsupported one.
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
        raise CheckpointError(f"{file.path}: the prompt layout {chosen!r} is not supported; supported: {known}")
    if trained and chosen not in trained:
        raise CheckpointError(
            f"{file.path} was trained with the prompt layout {', '.join(trained)}, but {chosen} was given; leave "
            "layout out, or use a checkpoint with that layout"
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
    """Arguments of the ``AffectGPT`` that is equivalent to the file's model.

    Args:
        file: The checkpoint.
        layout: Inputs to build for; ``None`` for all inputs that the file has weights for, with the visual stream named
            ``video``: the model whose tensors correspond one to one to the file's.
        clip: Folder or hub id of the visual encoder.
        hubert: Folder or hub id of the acoustic encoder.
        llm: Folder or hub id of the language model.
        bert: Folder of the BERT that has the sizes of the Q-Formers; needed if they are not those of bert-base.
        encoder_dtype: Type of the encoders' weights.
        llm_dtype: Type of the language model's weights.
        attention: Attention backend of the language model, see ``CausalLM``.

    Raises:
        CheckpointError: If the file's configuration is not supported.
    """
    _check_networks(file, {"visual_encoder": clip, "acoustic_encoder": hubert, "llama_model": llm})
    heads, inner = _qformer_sizes(file, bert)
    qformer = {"num_heads": heads, "feedforward_dim": inner}

    def fuse(kind: str, known: tuple[str, ...] = FUSIONS) -> dict[str, Any]:
        fusion = _fusion(file, kind, known)
        more = _qformer_args(file, kind) | qformer if fusion == "qformer" else {}
        return {"name": fusion, "args": {"num_tokens": _num_tokens(file, kind), **more}}

    _fusion(file, "image", ("mean", "token"))  # for the single vector of a picture, both are the same
    image_tokens = {"name": "mean", "args": {"num_tokens": _num_tokens(file, "image")}}
    see = {"name": "clip", "args": {"path": clip, "dtype": encoder_dtype}}
    # all segments of a clip are normalised together, as published
    hear = {"name": "hubert", "args": {"path": hubert, "layers": 4, "dtype": encoder_dtype, "normalize": "clip"}}
    visual = "video" if layout is None else layout.visual
    streams: dict[str, Any] = {}
    if visual in ("video", "face", "frame"):
        source = "frame" if visual == "video" else visual
        streams[visual] = {"encoder": see, "pooling": fuse("video"), "source": source}
    if layout is None or layout.audio:
        streams["audio"] = {"encoder": hear, "pooling": fuse("audio")}
    if layout is None or layout.visual == "image":
        streams["image"] = {"encoder": see, "pooling": image_tokens}
    multi = fuse("multi", ("attention", "qformer"))  # always in the file, whether or not the prompt shows it
    has_multi = layout is None or layout.multi
    return {
        "streams": streams,
        "prefusion": multi if has_multi else {"name": "none"},
        "prefusion_inputs": [visual, "audio"] if has_multi else [],
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
        "max_tokens": int(file.switches.get("max_length", 1024)),
        "max_new_tokens": 1200,
    }


def _fusion(file: OfficialFile, kind: str, known: tuple[str, ...]) -> str:
    fusion = file.switches.get(f"{kind}_fusion_type")
    if fusion not in known:
        raise CheckpointError(
            f"{file.path}: its configuration has {kind}_fusion_type: {fusion!r}, which is not supported; supported: "
            f"{', '.join(known)}"
        )
    return str(fusion)


def _num_tokens(file: OfficialFile, kind: str) -> int:
    count = file.switches.get(f"num_{kind}_query_token")
    if not isinstance(count, int) or count < 1:
        raise CheckpointError(
            f"{file.path}: its configuration has num_{kind}_query_token: {count!r}, expected a number of tokens"
        )
    return count


def _check_networks(file: OfficialFile, folders: Mapping[str, str]) -> None:
    """Compare the networks that the file names with those in the folders."""
    from transformers import AutoConfig

    for key, folder in folders.items():
        name, known = str(file.switches.get(key)), NETWORKS[key]
        if name not in known:
            raise CheckpointError(
                f"{file.path} was trained with {key} {name!r}, which is not supported; supported: {', '.join(known)}"
            )
        try:
            found = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"cannot read the {key} {name} from {folder!r}: {reason_of(error)}. Give the folder with its "
                "config.json and weights, or a hub id if the hub can be reached"
            ) from error
        if found not in (known[name], f"{known[name]}_vision_model"):
            raise CheckpointError(
                f"{file.path} was trained with {key} {name}, a network of type {known[name]}, but {folder!r} has one "
                f"of type {found}"
            )


def _qformer_sizes(file: OfficialFile, bert: str | None) -> tuple[int, int]:
    """Attention heads and inner width of the Q-Formers: those of bert-base, or of the given folder."""
    from transformers import AutoConfig

    if bert is not None:
        config = AutoConfig.from_pretrained(bert, trust_remote_code=False)
        return int(config.num_attention_heads), int(config.intermediate_size)
    width = next((t.shape[-1] for name, t in file.tensors.items() if name.endswith("_query_tokens")), 768)
    if width != 768:
        raise CheckpointError(
            f"{file.path}: its Q-Formers are {width} wide, not 768 as bert-base; give bert=, the folder of a BERT "
            "whose config.json has the number of attention heads"
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
