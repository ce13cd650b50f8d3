"""Makes the folder of a reader: every file and model that the commands of the documentation name, tiny."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import Qwen2Config, Qwen2ForCausalLM

from affectgpt.annotate.clip_source import LooseFiles
from affectgpt.annotate.review_log import ReviewLog, Verdict, now
from affectgpt.bench import write_openset
from affectgpt.cli.main import main
from affectgpt.datamodules.unibench.folder_layouts import PROCESSED
from affectgpt.demo.corpus import make_corpus
from affectgpt.llm.smollm2_package import unpacked_folder
from clipmaker import make_clip, make_wav
from mer2026maker import CANDIDATES, HUMAN, PAIRS, TRAIN, make_archives, make_release, write_table
from physiomaker import signals
from setmaker import gold_value, make_meld_csv, make_mmsa, make_processed, sample_name, touch
from tinyencoders import save_clip, save_hubert
from tinymodels import make_seeing_model, make_tokenizer

NUM_CLIPS = 4
GOLD = {sample_name("meld", number): gold_value("meld", number) for number in range(NUM_CLIPS)}
NAMES = tuple(f"utt{number}" for number in range(8))
WORDS = ("happy", "sad", "angry", "afraid", "surprised", "calm", "worried", "proud")
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}assistant: "
    "{% endif %}"
)
QUESTION = {
    "question": "How?",
    "options": "{'A': 'About the same.', 'B': 'Much lower.'}",
    "correct_answer": "B",
    "question_type": "What/How",
    "perceptual_dimension": "Valence perception",
}
RUN: dict[str, Any] = {
    "seed_everything": 42,
    "model": {
        "streams": {
            "frame": {"encoder": {"name": "clip", "args": {"path": "models/clip"}}},
            "audio": {"encoder": {"name": "hubert", "args": {"path": "models/hubert", "layers": 2}}},
        },
        "llm": {"name": "causal-lm", "args": {"path": "models/llm", "lora": {"rank": 2, "targets": ["q_proj"]}}},
        "style": "brief",
        "media": {"num_frames": 2, "frame_height": 32, "frame_width": 32, "num_segments": 2, "segment_seconds": 0.25},
        "max_tokens": 1024,
        "max_new_tokens": 4,
        "optim": {"lr": 0.001, "warmup_steps": 0},
    },
    "data": {
        "name": "mercaption",
        "args": {"train": "shards/train", "task": "labels", "batch_size": 2, "num_workers": 0},
    },
    "trainer": {
        "max_epochs": 2,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
        "default_root_dir": "runs",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"save_last": True}}],
    },
}
"""The configuration ``run.yaml``: what a reader has written, with networks of two layers."""


def make_readers_folder(folder: Path, *, wheel: Path | None = None, released: Path | None = None) -> Path:
    """Make the folder; commands are run in it, and its parts name each other relative to it.

    Args:
        folder: A new folder, which is the current one.
        wheel: The authors' word tables, where they are at hand.
        released: The folder with a tiny checkpoint in the released form and its networks, where it is at hand.
    """
    _media(folder)
    _models(folder, released)
    _train(folder)
    _sets(folder)
    _answers(folder)
    _challenge(folder)
    (folder / "home").mkdir()
    shutil.copytree(folder / "models" / "llm", folder / "cache" / unpacked_folder().name)
    if wheel is not None:
        shutil.copytree(wheel, folder / "cache" / "emotion_wheel")
    return folder


def quietly(*words: str) -> None:
    """Run a command of the library, whose output only counts where it fails."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = main(words)
    assert code == 0, (words, told.getvalue())


def _media(folder: Path) -> None:
    """Clips with a manifest, a film with subtitles, a sound, and the signals of a plug-in."""
    drawn = make_corpus(folder / "drawn", num_train=len(NAMES), num_test=1, workers=1)
    lines = []
    (folder / "clips").mkdir()
    for name, line in zip(NAMES, (drawn / "train.jsonl").read_text("utf-8").splitlines(), strict=True):
        row = json.loads(line)
        shutil.move(drawn / row["video"], folder / "clips" / f"{name}.mp4")
        kept = {key: row[key] for key in ("subtitle", "labels", "description")}
        lines.append({"name": name, "video": f"{name}.mp4", **kept})
    _write_lines(folder / "clips" / "manifest.jsonl", lines)
    shutil.copy(folder / "clips" / "utt0.mp4", folder / "clip.mp4")
    shutil.rmtree(drawn)
    (folder / "clip.csv").write_bytes(signals(2.0))
    (folder / "voice.wav").write_bytes(make_wav(1.0))
    (folder / "film.mp4").write_bytes(make_clip(6.0))
    (folder / "film.srt").write_text(
        "1\n00:00:00,500 --> 00:00:02,000\nI am fine.\n\n2\n00:00:03,000 --> 00:00:05,000\nReally.\n", "utf-8"
    )


def _models(folder: Path, released: Path | None) -> None:
    """The networks that ``run.yaml`` names, and the released checkpoint with its own."""
    save_clip(folder / "models" / "clip")
    make_seeing_model(folder / "models" / "SmolVLM2-2.2B-Instruct")
    save_hubert(folder / "models" / "hubert")
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=len(tokenizer), **size, num_key_value_heads=1, max_position_embeddings=4096)
    Qwen2ForCausalLM(config).save_pretrained(folder / "models" / "llm")
    tokenizer.save_pretrained(folder / "models" / "llm")
    if released is not None:
        for name in ("clip-vit-large-patch14", "chinese-hubert-large", "Qwen2.5-7B-Instruct"):
            shutil.copytree(released / "models" / name, folder / name)
        stored = torch.load(released / "A" / "checkpoint_000000_loss_0.000.pth", weights_only=True)
        stored["config"]["datasets"] = {"mercaptionplus": {"face_or_frame": "multiface_audio_face_text"}}  # as released
        torch.save(stored, folder / "checkpoint_000030_loss_0.602.pth")


def _train(folder: Path) -> None:
    """Shards, stored features, and a model that was trained on them for an epoch, under the names of the pages."""
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN), "utf-8")
    quietly("pack", "clips/manifest.jsonl", "shards/train", "--workers", "0")
    shutil.copytree(folder / "shards" / "train", folder / "shards" / "val")
    quietly("fit", "--config", "run.yaml", "--trainer.max_epochs", "1")
    (written,) = (folder / "runs").rglob("last.ckpt")
    for name in ("last", "new", "old", "x/last", "x/step700", "x/step800", "x/step900", "sft/last"):
        (folder / "runs" / f"{name}.ckpt").parent.mkdir(exist_ok=True)
        shutil.copy(written, folder / "runs" / f"{name}.ckpt")
    quietly("encode", "run.yaml", "shards/train", "features/train", "--num-workers", "0")


def _sets(folder: Path) -> None:
    """Test sets of a few clips: in the authors' layout, and two in the layouts of their makers."""
    data = folder / "data"
    clip = make_clip(0.4)
    for name in ("meld", "sims"):
        location, names = make_processed(data / "unibench", name, NUM_CLIPS, clip=clip)
        for one in names:
            touch(location / PROCESSED[name].audio / f"{one}.wav", make_wav(0.4))
    shutil.copytree(data / "unibench" / "sims-process", data / "sims-process")
    make_meld_csv(folder / "MELD" / "test_sent_emo.csv", GOLD.items())
    make_mmsa(folder, "sims", NUM_CLIPS)  # label.csv
    shutil.rmtree(folder / "Raw")


def _answers(folder: Path) -> None:
    """Predictions with their true labels: for MELD, as the authors released theirs, for a vote, for other tasks."""
    write_table(folder / "gold.csv", ("name", "label"), GOLD.items())
    answers = {"mine": "happy, calm", "theirs": "sad", "human": "calm"}
    for file, said in answers.items():
        write_table(folder / f"{file}.csv", ("name", "labels"), [(name, said) for name in GOLD])
    _write_lines(folder / "predictions.jsonl", [{"name": name, "text": "She is happy."} for name in GOLD])
    _write_lines(folder / "mine2.jsonl", [{"name": sample_name("sims", n), "text": "sad"} for n in range(NUM_CLIPS)])
    (folder / "my_answers").mkdir()
    shutil.copy(folder / "predictions.jsonl", folder / "my_answers" / "meld.jsonl")
    for name in ("meld", "sims"):
        system = folder / "output" / f"results-{name}" / "mine"
        system.mkdir(parents=True)
        for epoch, word in ((30, "happy"), (60, "sad")):
            said = {sample_name(name, number): [word, "calm"] for number in range(NUM_CLIPS)}
            write_openset(system / f"checkpoint_0000{epoch}_loss_0.600.npz", said)
    write_votes(folder)
    write_votes(folder, "dev_", seed=1)
    write_openset(folder / "answers.npz", {name: ["happy", "calm"] for name in CANDIDATES})
    write_openset(folder / "human.npz", {name: ["calm"] for name in HUMAN})
    _write_lines(folder / "intents.jsonl", [{"name": f"S04_E01_{n}", "answer": "Complain"} for n in range(2)])
    said = [f"S04\tE01\t{n}\tno\t{label}" for n, label in enumerate(("Complain", "Apologise"))]
    (folder / "test.tsv").write_text("\n".join(["season\tepisode\tclip\ttext\tlabel", *said]) + "\n", "utf-8")
    for part in ("single", "pair"):
        rows = [{"id": n, **QUESTION, "image2_url": f"{part}{n}.jpg", "response(mine)": "B"} for n in range(2)]
        (folder / f"EEmo-Bench(mine-{part}).json").write_text(json.dumps(rows), "utf-8")
    seen = LooseFiles(folder / "clips" / "utt0.mp4", None, {}).digest()
    ReviewLog(folder / "review.jsonl").append(Verdict("utt0", seen, "maria", now(), "reject", note="too dark"))
    rows = [{"id": str(n), "model_output": "Fear", "ground_truth": ("Fear", "Anger")[n % 2]} for n in range(4)]
    (folder / "results.json").write_text(json.dumps(rows), "utf-8")


def write_votes(folder: Path, prefix: str = "", num_samples: int = 400, seed: int = 0) -> None:
    """Four systems that err in their own ways, and the true labels, on made samples."""
    rng = np.random.default_rng(seed)
    names = [f"{prefix or 'clip_'}{number:03d}" for number in range(num_samples)]
    true = {name: list(rng.choice(WORDS, 1 + rng.integers(3), replace=False)) for name in names}
    for system, (num_words, share) in enumerate(((3, 0.6), (4, 0.6), (3, 0.55), (2, 0.5))):
        said = {name: _said(rng, true[name], num_words, share) for name in names}
        path = folder / f"{prefix}s{system}{'.jsonl' if system % 2 else '.npz'}"
        if system % 2:
            _write_lines(path, [{"name": name, "labels": words} for name, words in said.items()])
        else:
            write_openset(path, said)
    rows = [(name, ", ".join(words)) for name, words in true.items()]
    write_table(folder / ("dev.csv" if prefix else "open.csv"), ("name", "label"), rows)


def _said(rng: np.random.Generator, true: Sequence[str], num_words: int, share: float) -> list[str]:
    right = [word for word in true if rng.random() < share]
    others = [word for word in rng.permutation([*WORDS, "neutral", "serious"]) if word not in right]
    return [str(word) for word in [*right, *others]][:num_words]


def _challenge(folder: Path) -> None:
    """The releases of MER2025 and MER2026."""
    release = make_release(folder / "mer2026-dataset")
    make_release(folder / "mer2025-dataset")
    rows = [(name, f"She of {name} is happy.") for name in TRAIN]
    for subset in ("mercaptionplus", "ovmerd"):
        write_table(folder / "mer2025-dataset" / f"track3_train_{subset}.csv", ["name", "reason"], rows)
    make_archives(release, "track2_train_mercaptionplus", TRAIN)
    more_pairs = [(name, f"{a1} {n}", f"{a2} {n}", preferred) for n in range(2) for name, a1, a2, preferred in PAIRS]
    write_table(release / "track3_emopreferv2.csv", ["name", "a1", "a2", "preference"], more_pairs)
    systems = [(*pair, f"system-{n % 2}", f"system-{1 - n % 2}") for n, pair in enumerate(PAIRS)]
    columns = ["name", "a1", "a2", "preference", "model1", "model2"]
    write_table(release / "preference_emoprefer_with_modelnames.csv", columns, systems)
    (folder / "videos").mkdir()
    shutil.copy(folder / "clip.mp4", folder / "videos" / "sample_1.mp4")
    described = {"sample_1": {"smp_reason_caption": "She is happy.", "pseu_emotion": "happy"}}
    (folder / "MERR_fine_grained.json").write_text(json.dumps(described), "utf-8")


def _write_lines(path: Path, rows: Iterable[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
