"""Time the answering of a set: one by one as published, in plain batches, and with ``answer_set``.

    python benchmarks/generate.py [--sizes demo] [--clips 80] [--threads 1] [--demo-folder FOLDER] [--out FILE.md]

One run, the same clips, prompts and weights for every row. On the CPU processor time is measured, so that other work on
the machine counts little; on a GPU wall-clock time. The first rows are what others do:

- ``as published``: each clip by itself, its encoders run anew for every question, ``generate`` of transformers.
- ``plain batches``: ``generate`` of transformers over batches in the order of the set, padded on the left.

``--sizes`` says what answers. ``demo``, the default without a GPU: the model that ``affectgpt demo`` trained, read from
``--demo-folder``, or built with the weights of its language model and random fusion. ``published``, the default with a
GPU, which it needs: CLIP ViT-L/14, HuBERT-large and Qwen2.5-7B in bfloat16 with random weights; ``small``: small
networks of the same kinds. Random weights end no answer, so that each is as long as ``--tokens`` allows: that is the
same work for every row, and no row gains by letting ended answers go. In bfloat16 few answers are letter by letter
those of one by one, since random weights leave the choice of a token to the rounding.

Without a GPU, the language model is then put into bfloat16, and answers again. Every ratio is to one by one in the
type that the model had at first.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from random_networks import SMALL, build, real, write_networks  # a neighbour of this script
from spoken_words import spoken_in  # a neighbour of this script

from affectgpt import AffectGPT
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.model.answer_set import AnsweringPlan, answer_set
from affectgpt.types import Batch


def build_model(sizes: str, folder: Path | None, tokens: int) -> AffectGPT:
    """The model that answers."""
    if sizes != "demo":
        chosen = real() if sizes == "published" else SMALL
        dtype = torch.bfloat16 if sizes == "published" else torch.float32
        with tempfile.TemporaryDirectory() as name:
            folders = write_networks(chosen, Path(name), dtype=dtype)
            media = {
                "num_frames": chosen.frames, "frame_height": chosen.frame_size, "frame_width": chosen.frame_size,
                "num_segments": chosen.windows, "segment_seconds": chosen.window_samples / 16_000,
            }  # fmt: skip
            kind = str(dtype).removeprefix("torch.")
            return build(folders, dtype=kind, rank=16, media=media, max_new_tokens=tokens)
    if folder is not None:
        return AffectGPT.from_checkpoint(folder / "model.ckpt")
    torch.manual_seed(0)
    settings = yaml.safe_load(resources.files("affectgpt.demo").joinpath("demo.yaml").read_text())
    return AffectGPT.from_config(settings["model"])


def make_clips(model: AffectGPT, count: int, questions: Sequence[str]) -> Batch:
    """Clips of random pictures and sound, with words."""
    media, generator = model.media, torch.Generator().manual_seed(0)
    size = (media.frame_height or 224, media.frame_width or 224)
    made: dict[str, torch.Tensor] = {}
    for source in media.sources:
        if source == "audio":
            made[source] = torch.randn(count, media.num_segments, media.segment_samples, generator=generator)
        else:
            shape = (count, media.num_frames, 3, *size)
            made[source] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Batch(
        keys=tuple(f"clip{i}" for i in range(count)),
        media=made,
        keep={name: torch.ones(value.shape[:2], dtype=torch.bool) for name, value in made.items()},
        subtitles=tuple(spoken_in(i) for i in range(count)),
        questions=(questions[0],) * count,
    )


def as_published(model: AffectGPT, clips: Batch, questions: Sequence[str]) -> list[str]:
    """Each clip by itself, once for each question."""
    texts = []
    for i in range(len(clips)):
        for question in questions:
            texts += plainly(model, clips.rows([i]), question)
    return texts


def in_batches(model: AffectGPT, clips: Batch, questions: Sequence[str], size: int = 40) -> list[str]:
    """Batches as they come, once for each question; the texts clip by clip."""
    texts: dict[tuple[int, str], str] = {}
    for question in questions:
        for start in range(0, len(clips), size):
            for i, text in enumerate(plainly(model, clips.rows(range(start, min(start + size, len(clips)))), question)):
                texts[start + i, question] = text
    return [texts[i, question] for i in range(len(clips)) for question in questions]


def plainly(model: AffectGPT, batch: Batch, question: str) -> list[str]:
    """Encoders, prompt, and ``generate`` of transformers."""
    network = model.network
    content = network.look(batch)
    prompt = network.render(content, (question,) * len(batch), batch.subtitles)
    embeds = network.place(prompt, content)
    keep, stop = prompt.keep.to(embeds.device), model.style.stop
    head: Any = model.llm
    ids = head._write_with_transformers(embeds, keep, model.max_new_tokens, stop, AnswerSampling())
    return [stop.read(text) for text in head.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def of_a_set(model: AffectGPT, clips: Batch, questions: Sequence[str], plan: AnsweringPlan) -> list[str]:
    """The library's way."""
    parts = [clips.rows(range(start, min(start + 40, len(clips)))) for start in range(0, len(clips), 40)]
    return [answer.text for window in answer_set(model, parts, plan, questions) for answer in window]


def timed(run: Callable[[], list[str]], device: torch.device) -> tuple[float, list[str]]:
    """Seconds of the processor, or of the clock where a GPU works; and the answers."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        texts = run()
        torch.cuda.synchronize()
        return time.perf_counter() - start, texts
    start = time.process_time()
    texts = run()
    return time.process_time() - start, texts


@torch.no_grad()
def measure(model: AffectGPT, num_clips: int, batch_tokens: int | None) -> list[tuple[str, ...]]:
    """Rows of the table."""
    asked = [model.style.label_question, model.style.description_question]
    plan = AnsweringPlan(batch_tokens=batch_tokens, window=4096)
    rows: list[tuple[str, ...]] = []
    first: dict[int, tuple[float, list[str]]] = {}
    halves = (False, True) if model.device.type == "cpu" else (False,)
    for half, questions in ((half, questions) for half in halves for questions in (asked[:1], asked)):
        clips = make_clips(model, num_clips, questions).to(model.device)
        if half:
            model.llm.bfloat16()
        few = clips.rows([0, 1])
        for warm in (as_published, in_batches):
            warm(model, few, questions)
        of_a_set(model, few, questions, plan)
        runs: dict[str, Callable[[], list[str]]] = {
            "one by one, as published": lambda c=clips, q=questions: as_published(model, c, q),  # type: ignore[misc]
            "plain batches of 40, `generate`": lambda c=clips, q=questions: in_batches(model, c, q),  # type: ignore[misc]
            "`answer_set`": lambda c=clips, q=questions: of_a_set(model, c, q, plan),  # type: ignore[misc]
        }
        for name, run in runs.items():
            seconds, texts = timed(run, model.device)
            published, expected = first.setdefault(len(questions), (seconds, texts))
            same = sum(a.strip() == b.strip() for a, b in zip(texts, expected, strict=True))
            rows.append(
                (
                    f"{len(questions)}",
                    f"{name}, bfloat16" if half else name,
                    f"{seconds:.1f}",
                    f"{len(texts) / seconds:.2f}",
                    f"{published / seconds:.1f}x",
                    f"{same} of {len(texts)}",
                )
            )
            print(rows[-1], flush=True)
    return rows


def report(rows: Sequence[tuple[str, ...]], args: argparse.Namespace, model: AffectGPT) -> str:
    """The table, and what it was measured with."""
    import transformers

    device = (
        torch.cuda.get_device_name(0) if model.device.type == "cuda" else platform.processor() or platform.machine()
    )
    unit = "wall-clock" if model.device.type == "cuda" else "processor"
    lines = [
        "# Answering a set",
        "",
        f"{time.strftime('%Y-%m-%d')}, {device}, {torch.get_num_threads()} thread(s), Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}; "
        f"`python benchmarks/generate.py --sizes {args.sizes} --clips {args.clips} --threads {args.threads}"
        f"{' --demo-folder FOLDER' if args.demo_folder else ''}`. "
        f"{args.note}".rstrip(),
        "",
        f"{what_answers(args)}; {args.clips} clips, answers of at most {model.max_new_tokens} tokens, {unit} seconds.",
        "",
        "| questions a clip | way | seconds | answers a second | ratio | the same as one by one |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def what_answers(args: argparse.Namespace) -> str:
    """The model in words."""
    if args.sizes == "published":
        return "CLIP ViT-L/14, HuBERT-large and Qwen2.5-7B with LoRA, bfloat16, random weights"
    if args.sizes == "small":
        return "Small networks of the published kinds in float32 with LoRA, random weights"
    trained = "as it trained it" if args.demo_folder else "fusion untrained"
    return f"Model of `affectgpt demo`, {trained}: SmolLM2-135M in float32 with LoRA"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--sizes", choices=("demo", "small", "published"), default="published" if on_gpu else "demo")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of an answer, with random weights")
    parser.add_argument("--clips", type=int, default=80)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, help="see AnsweringPlan")
    parser.add_argument("--demo-folder", type=Path, help="folder of `affectgpt demo`, whose trained model answers")
    parser.add_argument(
        "--note", default="", help="a sentence for the result file, such as that the machine was shared"
    )
    parser.add_argument("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.sizes == "published" and not on_gpu:
        parser.error("networks of the published sizes take hours on a CPU; use --sizes small or demo")
    model = build_model(args.sizes, args.demo_folder, args.tokens).eval()
    if on_gpu:
        model.cuda()
    text = report(measure(model, args.clips, args.batch_tokens), args, model)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
