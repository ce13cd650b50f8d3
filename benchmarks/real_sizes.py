"""Count the released model at its real sizes, from shapes alone, and time its networks on this machine.

    python benchmarks/real_sizes.py [--time] [--repeats 3] [--threads 1] [--out FILE.md]

Without ``--time`` no weights are made. With it, the encoders and one layer of the LLM run with random weights (3 GB).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

CLIP = {
    "model_type": "clip",
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768},
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "image_size": 224,
        "projection_dim": 768,
    },
}
HUBERT = {
    "model_type": "hubert",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "feat_proj_layer_norm": True,
}
QWEN = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "num_hidden_layers": 28,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
}
TOKENS = {"bos": "<|im_start|>", "pad": "<|im_end|>"}
PUBLISHED = {"LoRA, rank 8": 20_185_088, "LoRA, rank 16": 40_370_176, "LoRA, rank 32": 80_740_352}
"""Adapters by rank (paper, table 8)."""

SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "A": {"video": ("attention", 1), "audio": ("attention", 1), "multi": ("attention", 1), "image": ("mean", 1)},
    "B": {"video": ("qformer", 32), "audio": ("qformer", 8), "multi": ("qformer", 16), "image": ("token", 32)},
    "C": {"video": ("mean", 4), "audio": ("mean", 2), "multi": ("attention", 1), "image": ("mean", 1)},
}
"""Fusion and number of tokens by input: A is the released set-up, B its Q-Former form, C its plain means."""
TABLES = {"video_frame_position_embedding": (32, 768), "audio_position_embedding": (8, 1024)}
TABLES["multi_position_embedding"] = (264, 1024)


def write_folders(root: Path) -> dict[str, str]:
    """Folders with the configurations of the three networks, and a tokenizer of bytes; no weights."""
    from affectgpt.llm.tiny import byte_tokenizer

    folders = {}
    for name, config in {"clip": CLIP, "hubert": HUBERT, "llm": QWEN}.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text(json.dumps(config))
        folders[name] = str(root / name)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(TOKENS.values())})
    tokenizer.save_pretrained(folders["llm"])
    return folders


def released_file(letter: str, rank: int = 16) -> Any:
    """A stand-in for a released file: its configuration, and the shapes that a model is built from."""
    from affectgpt.checkpoints.official.released_file import OfficialFile

    switches: dict[str, Any] = {"llama_model": "Qwen25", "acoustic_encoder": "HUBERT_LARGE", "lora_r": rank}
    switches["visual_encoder"] = "CLIP_VIT_LARGE"
    tensors = {"x.lora_A.default.weight": torch.empty(rank, 1, device="meta")}
    for kind, (fusion, count) in SWITCHES[letter].items():
        switches |= {f"{kind}_fusion_type": fusion, f"num_{kind}_query_token": count}
        if fusion == "qformer":
            tensors[f"{kind}_query_tokens"] = torch.empty(1, count, 768, device="meta")
    tensors |= {f"{name}.weight": torch.empty(shape, device="meta") for name, shape in TABLES.items()}
    return OfficialFile(Path(f"configuration {letter}"), tensors, {"model": switches}, None)


def build(letter: str, folders: Mapping[str, str], rank: int = 16, llm_dtype: str = "bfloat16") -> Any:
    """The model with a place for every released tensor, on the meta device: shapes, no memory."""
    from affectgpt import AffectGPT
    from affectgpt.checkpoints.official.released_config import model_arguments

    with torch.device("meta"):
        return AffectGPT(**model_arguments(released_file(letter, rank), None, **folders, llm_dtype=llm_dtype))


def released_tensors(letter: str) -> dict[str, torch.Size]:
    """Names and shapes of a released checkpoint at the real sizes."""
    from affectgpt.checkpoints.official.released_file import expected_tensors, position_ids

    with tempfile.TemporaryDirectory() as root:
        expected = expected_tensors(build(letter, write_folders(Path(root))))
    buffers = {name: tensor.shape for name, tensor in position_ids(expected).items()}
    return {name: shape for name, (_, shape) in expected.items()} | buffers


@cache
def parameters(letter: str, rank: int = 16) -> dict[str, int]:
    """Parameters by part."""
    with tempfile.TemporaryDirectory() as root:
        model = build(letter, write_folders(Path(root)), rank)

    def count(module: Any, *, trained: bool) -> int:
        return sum(p.numel() for p in module.parameters() if p.requires_grad is trained)

    image = count(model.projectors["image"], trained=True)
    trained = count(model, trained=True)
    adapters = count(model.llm, trained=True)
    return {
        "CLIP ViT-L/14, image tower": count(model.encoders["video"], trained=False),
        "HuBERT-large": count(model.encoders["audio"], trained=False),
        "Qwen2.5-7B": count(model.llm, trained=False),
        f"LoRA, rank {rank}": adapters,
        "fusion, used": trained - adapters - image,
        "image projector, unused": image,
        "trained, in the file": trained,
    }


def memory_rows(letter: str) -> list[tuple[str, ...]]:
    """Gigabytes (1e9 bytes) that weights, gradients and AdamW take; activations come on top."""
    sizes = parameters(letter)
    encoders = sizes["CLIP ViT-L/14, image tower"] + sizes["HuBERT-large"]
    llm, trained = sizes["Qwen2.5-7B"], sizes["trained, in the file"]
    rows = []
    for name, encoder_bytes, llm_bytes in (
        ("float32 everywhere", 4, 4),
        ("LLM in bfloat16, encoders in float32 (default)", 4, 2),
        ("LLM and encoders in bfloat16", 2, 2),
    ):
        frozen = encoders * encoder_bytes + llm * llm_bytes
        answer, learn = frozen + 4 * trained, frozen + 16 * trained
        rows.append((name, *(f"{value / 1e9:.2f}" for value in (frozen, answer, learn))))
    return rows


def cache_bytes_a_token(bytes_a_value: int = 2) -> int:
    """Key-value cache of the LLM."""
    head = QWEN["hidden_size"] // QWEN["num_attention_heads"]
    return 2 * QWEN["num_hidden_layers"] * QWEN["num_key_value_heads"] * head * bytes_a_value


def times(repeats: int) -> list[tuple[str, str, str]]:
    """Median processor seconds of the encoders on one clip, and of one LLM layer on one prompt, with random weights."""
    from transformers import AutoConfig, CLIPVisionModelWithProjection, HubertModel, Qwen2Config
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RotaryEmbedding

    with tempfile.TemporaryDirectory() as root:
        folders = write_folders(Path(root))
        clip, hubert = (AutoConfig.from_pretrained(folders[name]) for name in ("clip", "hubert"))
    qwen = Qwen2Config(**{k: v for k, v in QWEN.items() if k not in ("model_type", "architectures")})
    qwen._attn_implementation = "sdpa"
    hubert.layerdrop = 0.0
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        network: Any = CLIPVisionModelWithProjection(clip.vision_config).to(dtype).eval()
        run = partial(network, pixel_values=torch.randn(8, 3, 224, 224, dtype=dtype))
        rows.append(("CLIP ViT-L/14, 8 frames", name, _median(run, repeats)))
        network = HubertModel(hubert).to(dtype).eval()
        run = partial(network, torch.randn(8, 32000, dtype=dtype))
        rows.append(("HuBERT-large, 8 x 2 s", name, _median(run, repeats)))
        network = Qwen2DecoderLayer(qwen, 0).to(dtype).eval()
        for length in (160, 1):
            hidden = torch.randn(1, length, qwen.hidden_size, dtype=dtype)
            places = Qwen2RotaryEmbedding(qwen)(hidden, torch.arange(length)[None])
            run = partial(network, hidden, position_embeddings=places)
            rows.append(
                (f"one of the LLM's 28 layers, {length} token{'s' * (length > 1)}", name, _median(run, repeats))
            )
    return rows


@torch.no_grad()
def _median(run: Callable[[], Any], repeats: int) -> str:
    run()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return f"{statistics.median(taken):.3f}"


def report(*, timed: bool, repeats: int) -> str:
    """The tables, as Markdown."""
    import transformers

    columns = {letter: parameters(letter) for letter in SWITCHES}
    lines = [
        "# The released model at its real sizes",
        "",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {torch.get_num_threads()} thread(s), "
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}.",
        "",
        "## Parameters",
        "",
        "Counted on the meta device. A: attention fusion, as released; B: Q-Formers; C: plain means.",
        "",
        "| part | A | B | C |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {' | '.join(f'{columns[c][name]:,}' for c in SWITCHES)} |" for name in columns["A"]]
    lines += ["", "| adapters | counted | paper |", "|---|---|---|"]
    for name, published in PUBLISHED.items():
        lines.append(f"| {name} | {parameters('A', int(name.split()[-1]))[name]:,} | {published:,} |")
    lines += [
        "",
        "## Memory",
        "",
        "GB (1e9 bytes) of configuration A, exact from the shapes. What is trained is in float32; training adds "
        "gradients and two moments of AdamW. Activations come on top.",
        "",
        "| weights | frozen | to answer | to train |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in memory_rows("A")),
        "",
        f"The key-value cache takes {cache_bytes_a_token():,} bytes a token in half precision: "
        f"{cache_bytes_a_token() * 1024 / 1e6:.0f} MB for 1,024 tokens. The attention set-up gives the LLM 3 tokens of "
        "media, the Q-Formers 56.",
    ]
    if timed:
        lines += [
            "",
            "## Time",
            "",
            f"Processor time on {torch.get_num_threads()} thread(s), "
            f"medians of {repeats} runs, random weights, batch of one clip.",
            "",
        ]
        lines += ["| network | precision | CPU seconds |", "|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in times(repeats)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="run the networks with random weights")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the tables to this file, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text = report(timed=options.time, repeats=options.repeats)
    print(text)
    if options.out:
        options.out.write_text(text)
