"""Time the way of a clip into the encoders: the library beside a stand-in of what the published code does.

    python benchmarks/encode.py [--samples 4] [--repeats 7] [--out FILE.md]

Same random weights (ViT-B/32 and HuBERT-base in size), same inputs, one thread, turn and turn about in one run.
Processor time, so that other work on the machine does not count; medians. Needs Pillow and torchaudio, which the
stand-in uses.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectgpt.datamodules.collate import collate
from affectgpt.encoders.clip_vit import ClipVitEncoder
from affectgpt.encoders.hubert import SpeechEncoder
from affectgpt.types import Clip

FRAMES, SIZE, WINDOWS, WINDOW_SAMPLES = 8, 224, 8, 32_000
LAYERS = [-4, -3, -2, -1]
MEL = {"htk_compat": True, "use_energy": False, "window_type": "hanning", "num_mel_bins": 128, "dither": 0.0}


class Published:
    """What the published code does with a batch, with the classes of transformers that it uses."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, HubertModel, Wav2Vec2FeatureExtractor
        from transformers.models.clip import CLIPImageProcessorPil

        self.clip = CLIPModel.from_pretrained(folder / "clip").eval()
        self.hubert = HubertModel.from_pretrained(folder / "hubert").eval()
        self.see = CLIPImageProcessorPil.from_pretrained(folder / "clip")
        self.hear = Wav2Vec2FeatureExtractor.from_pretrained(folder / "hubert")

    def pixels(self, frames: Tensor) -> Tensor:
        """Float frames ``[B, 3, T, H, W]`` to a picture each, through the processor, to one tensor."""
        from PIL import Image

        arrays = frames.permute(0, 2, 3, 4, 1).flatten(0, 1).numpy().astype(np.uint8)
        pictures = [Image.fromarray(array) for array in arrays]
        pixels: Tensor = self.see(images=pictures, return_tensors="pt")["pixel_values"]
        return pixels.to(frames.device)

    def look(self, pixels: Tensor) -> Tensor:
        """One vector a frame."""
        found = self.clip.get_image_features(pixel_values=pixels)
        return found if isinstance(found, Tensor) else found.pooler_output

    def mel(self, sound: Tensor) -> Tensor:
        """The spectrogram of each window, which no part of the model reads; takes the mean off in place."""
        from torchaudio.compliance import kaldi

        shown = []
        for window in sound:
            window -= window.mean()
            options = {"sample_frequency": 16_000, "frame_length": 25, "frame_shift": 10, **MEL}
            bank = kaldi.fbank(window[None], **options).T
            shown.append(torch.nn.functional.pad(bank, (0, 204 - bank.shape[1]))[None])
        return (torch.stack(shown) + 4.268) / 9.138

    def normalised(self, sound: Tensor) -> Tensor:
        """All windows ``[B * S, N]`` as one utterance."""
        return self.hear(sound, sampling_rate=16_000, return_tensors="pt").input_values[0]

    def states(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Every hidden state of the network."""
        return self.hubert(waveform, output_hidden_states=True).hidden_states

    def read(self, states: tuple[Tensor, ...]) -> Tensor:
        """All layers side by side, then four of them."""
        return torch.stack(states)[LAYERS].mean(dim=0).mean(dim=1)


def save_networks(folder: Path) -> None:
    """Random weights of ViT-B/32 and HuBERT-base in size; the text tower is small, nobody reads it."""
    from transformers import CLIPConfig, CLIPModel, HubertConfig, HubertModel, Wav2Vec2FeatureExtractor
    from transformers.models.clip import CLIPImageProcessorPil

    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
    CLIPModel(CLIPConfig(text_config=text, vision_config={"patch_size": 32})).save_pretrained(folder / "clip")
    CLIPImageProcessorPil().save_pretrained(folder / "clip")
    HubertModel(HubertConfig()).save_pretrained(folder / "hubert")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "hubert")


def medians(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median milliseconds of two runs that take turns, after one turn to warm up."""
    times: list[list[float]] = [[], []]
    for turn in range(repeats + 1):
        for place, run in enumerate((first, second)):
            started = time.process_time()
            run()
            if turn:
                times[place].append((time.process_time() - started) * 1e3)
    return statistics.median(times[0]), statistics.median(times[1])


def shipped(samples: int) -> tuple[float, float]:
    """Megabytes a sample from the reader to the trainer: theirs, and what our collated batch holds."""
    clips = [
        Clip(
            key=str(number),
            media={
                "frame": torch.zeros(FRAMES, 3, SIZE, SIZE, dtype=torch.uint8),
                "audio": torch.zeros(WINDOWS, WINDOW_SAMPLES),
            },
        )
        for number in range(samples)
    ]
    batch = collate(clips, ["?"] * samples)
    ours = sum(t.nbytes for group in (batch.media, batch.keep) for t in group.values()) / samples
    floats = 2 * FRAMES * 3 * SIZE * SIZE + WINDOWS * WINDOW_SAMPLES + WINDOWS * 128 * 204
    return floats * 4 / 1e6, ours / 1e6


@torch.inference_mode()
def measure(samples: int, repeats: int) -> list[tuple[str, str, str, str, str]]:
    """Rows of the table: what, theirs, ours, ratio, target."""
    rows: list[tuple[str, str, str, str, str]] = []

    def add(what: str, theirs: Callable[[], object], ours: Callable[[], object], target: str) -> None:
        slow, fast = medians(theirs, ours, repeats)
        rows.append((what, f"{slow:.1f} ms", f"{fast:.1f} ms", f"{slow / fast:.2f}x", target))
        print(rows[-1], flush=True)

    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (samples, FRAMES, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    as_floats = frames.transpose(1, 2).float()
    sound = torch.randn(samples, WINDOWS, WINDOW_SAMPLES, generator=generator)
    sound -= sound.mean(-1, keepdim=True)
    keep = torch.ones(samples, FRAMES, dtype=torch.bool)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        save_networks(folder)
        theirs = Published(folder)
        see = ClipVitEncoder(str(folder / "clip")).freeze()
        hear = SpeechEncoder(str(folder / "hubert"), normalize="clip").freeze()

    pixels = theirs.pixels(as_floats)
    torch.testing.assert_close(see.preprocess(frames), pixels, rtol=0, atol=1e-6)
    torch.testing.assert_close(see(frames, keep).hidden.flatten(0, 1), theirs.look(pixels), rtol=1e-4, atol=1e-5)
    one, waveform = sound[:1], theirs.normalised(sound[0])
    states = theirs.states(waveform)
    heard = hear(one, keep[:1]).hidden[0]
    torch.testing.assert_close(heard, theirs.read(states), rtol=1e-3, atol=1e-4)

    count = f"{samples * FRAMES} frames"
    add(f"visual pre-processing, {count}", lambda: theirs.pixels(as_floats), lambda: see.preprocess(frames), ">= 2.5x")
    add(
        f"ViT-B/32 alone, {count}",
        lambda: theirs.look(pixels),
        lambda: see.network(pixel_values=pixels).image_embeds,
        "no slower",
    )
    add(f"both, {count}", lambda: theirs.look(theirs.pixels(as_floats)), lambda: see(frames, keep), "")
    flat = sound.flatten(0, 1)
    add(
        f"normalising {len(flat)} windows",
        lambda: theirs.normalised(flat),
        lambda: hear.preprocess(sound, keep),
        "",
    )
    add(
        f"spectrogram that nothing reads, {WINDOWS} windows (ours: the mean alone)",
        lambda: theirs.mel(one[0].clone()),
        lambda: one[0] - one[0].mean(-1, keepdim=True),
        "",
    )
    many = tuple(state.repeat(samples, 1, 1) for state in states)
    add(
        f"reading the last four of 13 hidden states, {len(flat)} windows",
        lambda: theirs.read(many),
        lambda: torch.stack([state.mean(1) for state in many[-4:]]).mean(0),
        ">= 20x",
    )
    add(
        f"HuBERT-base alone, {WINDOWS} windows",
        lambda: theirs.hubert(waveform).last_hidden_state,
        lambda: hear.network(waveform).last_hidden_state,
        "no slower",
    )
    add(
        f"HuBERT-base with all around it, {WINDOWS} windows",
        lambda: theirs.read(theirs.states(theirs.normalised(one[0]))),
        lambda: hear(one, keep[:1]),
        "",
    )
    big, small = shipped(samples)
    rows.append(
        ("a sample on its way to the trainer", f"{big:.2f} MB", f"{small:.2f} MB", f"{big / small:.2f}x", "<= 2.5 MB")
    )
    return rows


def report(rows: list[tuple[Any, ...]], samples: int, repeats: int) -> str:
    """The table, and what it was measured with."""
    import torchaudio
    import transformers

    head = [
        f"{platform.processor() or platform.machine()}, one thread, Python {platform.python_version()}, torch "
        f"{torch.__version__}, transformers {transformers.__version__}, torchaudio {torchaudio.__version__}; batch of "
        f"{samples}, {repeats} repeats after one to warm up, medians of processor time",
        "",
        "| what | published | here | ratio | target |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4, help="clips in the batch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = report(measure(args.samples, args.repeats), args.samples, args.repeats)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
