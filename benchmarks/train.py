"""Time training steps: the published recipe, then the library's, one setting after the other, all in one run.

    python benchmarks/train.py [--steps 3] [--threads 1] [--only NAME ...] [--profile] [--out FILE.md]

Every row runs the same clips, words and answers through networks of the same size with random weights. With a GPU these
are the published sizes (CLIP ViT-L/14, HuBERT-large, Qwen2.5-7B with LoRA of rank 16; 8 frames, 8 x 2 s of sound) and
the clock is read; without one they are small, and processor time is read, so that other work on the machine counts
little. The published recipe is a stand-in that does what the published code does with a batch: frames to pictures and
through the processor of transformers in every step, the spectrogram that nothing reads, every hidden state of the
speech network, prompts padded to the longest, logits of every position. Its batch is 3, and where there is a GPU it
runs in fp16 autocast with a scaler; a CPU has neither, so that float32 stands for it there.

Answers have the lengths of real ones: a third lists labels, the others describe in 20 to 300 tokens.

MFU is the share of the matrix rate that goes into operations the step needs: the encoders forward, the language model
forward and backward over real tokens, and the logits of the answers. The rate is that of square matrices of the row's
type, measured in the same run by the same clock.

With --profile the same steps of the last row run once more under torch's profiler, and the shares of matrix products,
attention and losses are told. The profiler reads the wall clock, so that other programs count there.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_clips import Clips, make_clips  # a neighbour of this script
from random_networks import SMALL, Sizes, build, real, write_networks  # a neighbour of this script
from step_shares import shares  # a neighbour of this script
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from affectgpt import AffectGPT
from affectgpt.llm.lora_linear import LoraLinear
from affectgpt.streaming.length_windows import deal
from affectgpt.training.meters import operations_a_token
from affectgpt.types import Batch, Clip, Features

MEL = {"htk_compat": True, "use_energy": False, "window_type": "hanning", "num_mel_bins": 128, "dither": 0.0}


class Published:
    """What the published code does with a batch before the fusion, over the networks of a model of the library."""

    def __init__(self, model: AffectGPT) -> None:
        from transformers import Wav2Vec2FeatureExtractor
        from transformers.models.clip import CLIPImageProcessorPil

        self.clip, self.hubert = model.encoder("face").network, model.encoder("audio").network
        self.see, self.hear = CLIPImageProcessorPil(), Wav2Vec2FeatureExtractor(do_normalize=True)

    @torch.no_grad()
    def features(self, batch: Batch, device: torch.device) -> dict[str, Features]:
        """Feature vectors of both streams."""
        from PIL import Image

        frames, sound = batch.media["face"], batch.media["audio"]
        arrays = frames.float().permute(0, 1, 3, 4, 2).flatten(0, 1).numpy().astype(np.uint8)
        pixels = self.see(images=[Image.fromarray(array) for array in arrays], return_tensors="pt")["pixel_values"]
        faces = self.clip(pixel_values=pixels.to(device)).image_embeds
        for window in sound.flatten(0, 1).clone():
            self.mel(window)
        waveform = self.hear(sound.flatten(0, 1), sampling_rate=16_000, return_tensors="pt").input_values[0]
        states = self.hubert(waveform.to(device), output_hidden_states=True).hidden_states
        heard = torch.stack(states)[[-4, -3, -2, -1]].mean(0).mean(1)
        shapes = {"face": frames.shape[:2], "audio": sound.shape[:2]}
        vectors = {"face": faces, "audio": heard}
        return {
            name: Features(value.float().unflatten(0, shapes[name]), batch.keep[name].to(device))
            for name, value in vectors.items()
        }

    @staticmethod
    def mel(window: Tensor) -> Tensor:
        """The spectrogram of a window, which no part of the model reads."""
        from torchaudio.compliance import kaldi

        window -= window.mean()
        options = {"sample_frequency": 16_000, "frame_length": 25, "frame_shift": 10, **MEL}
        return kaldi.fbank(window[None], **options)


def all_logits(model: AffectGPT, batch: Batch, features: Mapping[str, Features]) -> Tensor:
    """The loss from the logits of every position of padded prompts."""
    network = model.network
    content = network.look(Batch(batch.keys, {}, {}, batch.subtitles, batch.questions, batch.answers, (), features))
    prompt = network.render(content, batch.questions, batch.subtitles, batch.answers)
    embeds = network.place(prompt, content)
    assert prompt.labels is not None
    head: Any = model.llm
    keep, labels = (value.to(embeds.device) for value in (prompt.keep, prompt.labels))
    logits = head.network(inputs_embeds=embeds, attention_mask=keep.long(), use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())


@dataclass
class Way:
    """One row of the table.

    Attributes:
        name: What it is called.
        loss: Loss of a batch.
        model: What is trained.
        size: Clips in a batch.
        half: Autocast in half precision: ``None``, ``"fp16"`` or ``"bf16"``.
        cached: Whether stored feature vectors stand for media.
        fused: Whether AdamW runs as one kernel.
        dealt: Whether all clips are dealt out to batches of similar length, of ``size`` on average.
    """

    name: str
    loss: Callable[[AffectGPT, Batch], Tensor]
    model: Callable[[], AffectGPT]
    size: int = 3
    half: str | None = None
    cached: bool = False
    fused: bool = False
    dealt: bool = False


def of_library(model: AffectGPT, batch: Batch) -> Tensor:
    """The loss as the library computes it."""
    out = model(batch.to(model.device))
    assert out.sample_losses is not None
    assert out.sample_tokens is not None
    return out.sample_losses.sum() / out.sample_tokens.sum()


def as_published(model: AffectGPT, batch: Batch) -> Tensor:
    """The loss as the published code computes it."""
    return all_logits(model, batch, Published(model).features(batch, model.device))


def with_all_logits(model: AffectGPT, batch: Batch) -> Tensor:
    """The library's encoders and pre-processing on the device, the logits of every position."""
    moved = batch.to(model.device)
    return all_logits(model, batch, {name: model.network.encode(name, moved) for name in model.specs})


def with_adapters_of_peft(make: Callable[[], AffectGPT]) -> Callable[[], AffectGPT]:
    """A model whose adapters run as peft has them, not as one function."""

    def made() -> AffectGPT:
        model = make()
        for module in model.modules():
            if isinstance(module, LoraLinear):
                module.__class__ = LoraLinear.__base__
        return model

    return made


def ways(folders: Mapping[str, Mapping[str, str]], rank: int, big: int) -> Iterator[Way]:
    """The rows, each one setting further than the one before."""
    on_gpu = torch.cuda.is_available()
    plain, half = ("float16" if on_gpu else "float32"), "bfloat16"

    def model(dtype: str, **changes: Any) -> Callable[[], AffectGPT]:
        return lambda: build(folders[dtype], dtype=dtype, rank=rank, **changes)

    published = with_adapters_of_peft(model(plain))
    yield Way("published recipe, batch 3", as_published, published, half="fp16" if on_gpu else None)
    first = half if on_gpu else "float32"
    cast = "bf16" if on_gpu else None
    yield Way("+ pre-processing on the device, no spectrogram", with_all_logits, model(first), half=cast)
    yield Way("+ logits where labels are, loss in pieces", of_library, model(first), half=cast)
    if not on_gpu:
        yield Way("+ bfloat16", of_library, model(half), half="bf16")
    for start, cached in (("+ ", False), ("cached features, ", True)):
        ours = {"half": "bf16", "cached": cached, "size": big}
        if cached:
            yield Way("cached features, batch 3, padded", of_library, model(half), half="bf16", cached=True)
        yield Way(f"{start}batch {big}, padded", of_library, model(half), **ours)
        yield Way(f"{start}similar lengths (batch {big} on average)", of_library, model(half), dealt=True, **ours)
        if cached:
            theirs = with_adapters_of_peft(model(half, packing=True))
            yield Way(f"{start}packed, peft's adapters (batch {big})", of_library, theirs, fused=True, **ours)
        yield Way(f"{start}packed (batch {big})", of_library, model(half, packing=True), fused=True, **ours)


def dealt_out(way: Way, clips: Clips, largest: int) -> list[list[int]]:
    """Clips of each step: one batch to warm up, then the same clips in every row."""
    learnt = range(largest, len(clips.answers))
    steps = [list(learnt[start : start + way.size]) for start in range(0, len(learnt), way.size)]
    if way.dealt:
        lengths = [len(clips.subtitles[i]) + len(clips.answers[i]) for i in learnt]
        steps = [[learnt[i] for i in rows] for rows in deal(lengths, len(steps), "steps")]
    return [list(range(largest - way.size, largest)), *steps]


def operations(model: AffectGPT, clips: Clips, rows: Sequence[int], *, cached: bool) -> float:
    """Operations that a step over some clips needs, padding and waste aside."""
    length, network, question = model.sample_check(), model.network, model.style.label_question
    tokens = [length(Clip(str(i), subtitle=clips.subtitles[i] or None), question, clips.answers[i]) for i in rows]
    logits = 4.0 * model.llm.hidden_dim * model.llm.network.get_output_embeddings().weight.shape[0]
    found = sum(tokens) * operations_a_token(model, sum(tokens) / len(tokens))
    found += logits * sum(len(clips.answers[i]) for i in rows)
    if not cached:
        batch = clips.batch(rows[:1], question).to(model.device)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for name in model.specs:
                network.encode(name, batch)
        found += counter.get_total_flops() * len(rows)
    return found


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a product of square matrices, the best of some."""
    device, size = ("cuda", 8192) if torch.cuda.is_available() else ("cpu", 1024)
    one = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(12):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter() if device == "cuda" else time.process_time()
        for _ in range(4):
            one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, ((time.perf_counter() if device == "cuda" else time.process_time()) - began) / 4)
    return 2.0 * size**3 / best


class Training:
    """A row's model, and what its steps need."""

    def __init__(self, way: Way, clips: Clips) -> None:
        self.way, self.clips, self.model = way, clips, way.model()
        self.device = self.model.device
        trained = [p for p in self.model.parameters() if p.requires_grad]
        fused = way.fused and self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.05, fused=fused)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=way.half == "fp16")
        self.features = encode(self.model, clips) if way.cached else None

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some clips as the row reads them."""
        return self.clips.batch(rows, self.model.style.label_question, self.features)

    def step(self, batch: Batch) -> None:
        """One step of the optimiser."""
        with casting(self.way.half, self.device):
            loss = self.way.loss(self.model, batch)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def measure(way: Way, clips: Clips, largest: int, rate: Callable[[torch.dtype], float]) -> dict[str, float]:
    """Clips, tokens and share of the matrix rate of one row by second, and its peak memory."""
    training = Training(way, clips)
    on_gpu = training.device.type == "cuda"
    taken, tokens = [], []
    steps = dealt_out(way, clips, largest)
    for rows in steps:
        batch = training.batch(rows)
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began, clock = time.perf_counter(), time.process_time()
        training.step(batch)
        taken.append(time.perf_counter() - began if on_gpu else time.process_time() - clock)
        tokens.append(sum(len(words) for words in (*batch.subtitles, *(batch.answers or ())) if words))
    seconds = sum(taken[1:])
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else float("nan")
    needed = sum(operations(training.model, clips, rows, cached=way.cached) for rows in steps[1:])
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16, None: torch.float32}[way.half]
    return {
        "samples": sum(map(len, steps[1:])) / seconds,
        "tokens": sum(tokens[1:]) / seconds,
        "step": statistics.median(taken[1:]),
        "mfu": needed / seconds / rate(kind),
        "memory": peak,
    }


def profiled(way: Way, clips: Clips, largest: int) -> str:
    """Where the time of the row's steps went, after the batch to warm up."""
    training = Training(way, clips)
    on_gpu = training.device.type == "cuda"
    warm, *batches = [training.batch(rows) for rows in dealt_out(way, clips, largest)]
    training.step(warm)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        for batch in batches:
            training.step(batch)
    return shares(recorded.events(), on_gpu=on_gpu).told(len(batches))


@torch.no_grad()
def encode(model: AffectGPT, clips: Clips) -> dict[str, Tensor]:
    """What ``affectgpt encode`` would store."""
    batch = clips.batch(range(len(clips.answers)), "").to(model.device)
    return {name: model.network.encode(name, batch).hidden.cpu() for name in model.specs}


def casting(half: str | None, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast of a row."""
    if half is None:
        return nullcontext()
    return torch.autocast(device.type, torch.float16 if half == "fp16" else torch.bfloat16)


def report(
    rows: Sequence[tuple[str, dict[str, float]]],
    args: argparse.Namespace,
    sizes: Sizes,
    count: str,
    rates: Mapping[str, float],
    where: str,
) -> str:
    """The table, what it was measured with, and where the time of the last row went, if that was asked."""
    import transformers

    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name(0) if on_gpu else platform.processor() or platform.machine()
    base = rows[0][1]["samples"]
    lines = [
        "# Training steps",
        "",
        f"{time.strftime('%Y-%m-%d')}, {device}, {torch.get_num_threads()} thread(s), Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}; `python "
        f"benchmarks/train.py --steps {args.steps}{' --profile' if args.profile else ''}`. {args.note}".rstrip(),
        "",
        f"Sizes: {sizes.name} ({count}), random weights. {'Wall-clock' if on_gpu else 'Processor'} time for "
        f"{args.steps * args.batch} clips, the same for every row, after a batch to warm up. "
        f"{'' if on_gpu else 'float32 stands for fp16 with a scaler in the first row.'}",
        "",
        "| setting | samples/s | text tokens/s | seconds a step | ratio | MFU | peak GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in rows:
        memory = "" if np.isnan(found["memory"]) else f"{found['memory']:.1f}"
        lines.append(
            f"| {name} | {found['samples']:.2f} | {found['tokens']:.0f} | {found['step']:.2f} | "
            f"{found['samples'] / base:.2f}x | {found['mfu']:.0%} | {memory} |"
        )
    lines += ["", f"Matrix rates: {', '.join(f'{rate / 1e9:,.0f} GFLOP/s in {kind}' for kind, rate in rates.items())}."]
    samples = {name: found["samples"] for name, found in rows}
    for start, what in (("+ ", "with encoders"), ("cached features, ", "with cached features")):
        padded = samples.get(f"{start}batch {args.batch}, padded")
        for name, way in (
            (f"similar lengths (batch {args.batch} on average)", "Similar lengths"),
            (f"packed (batch {args.batch})", "Packing"),
        ):
            if padded and start + name in samples:
                lines += ["", f"{way} over padding {what}: {samples[start + name] / padded:.2f}x."]
    lines += ["", where] if where else []
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=12, help="clips in a batch of the later rows")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="rows whose name holds one of these")
    parser.add_argument("--profile", action="store_true", help="also tell where the time of the last row went")
    parser.add_argument(
        "--note", default="", help="a sentence for the result file, such as that the machine was shared"
    )
    parser.add_argument("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes = real() if torch.cuda.is_available() else SMALL
    clips = make_clips(sizes, args.batch * (args.steps + 1))
    rows: list[tuple[str, dict[str, float]]] = []
    rates: dict[torch.dtype, float] = {}

    def rate(kind: torch.dtype) -> float:
        if kind not in rates:
            rates[kind] = matrix_rate(kind)
        return rates[kind]

    count = ""
    with tempfile.TemporaryDirectory() as name:
        kinds = ("float16", "bfloat16") if torch.cuda.is_available() else ("float32", "bfloat16")
        folders = {kind: write_networks(sizes, Path(name, kind), dtype=getattr(torch, kind)) for kind in kinds}
        asked = args.only or [""]
        chosen = [way for way in ways(folders, args.rank, args.batch) if any(part in way.name for part in asked)]
        if not chosen:
            parser.error(f"no row's name holds {' or '.join(map(repr, asked))}")
        for way in chosen:
            rows.append((way.name, measure(way, clips, args.batch, rate)))
            print(json.dumps({"setting": way.name, **rows[-1][1]}), flush=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        where = profiled(chosen[-1], clips, args.batch) if args.profile else ""
        for part in ("vision", "speech", "llm"):
            config = json.loads(Path(folders[kinds[0]][part], "config.json").read_text())
            count += f"{part} {config['num_hidden_layers']} x {config['hidden_size']}, "
    told = {str(kind).removeprefix("torch."): value for kind, value in rates.items()}
    text = report(rows, args, sizes, count.rstrip(", "), told, where)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
