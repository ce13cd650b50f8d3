"""Measure the decoding of a clip: 8 frames of 224 x 224 and 16 kHz mono sound, by every way there is, in one run.

    python benchmarks/decode.py --clips FOLDER

FOLDER holds real clips (mp4 with sound). Each is encoded again at every height (H.264, crf 23, and AAC), so that
heights can be compared. The ways take turns clip by clip, on one core; processor time is given, since other work may
share the machine. ``decord`` (0.6.0) is optional: with it the way of the published code is measured too.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

import av
import numpy as np
import torch

from affectgpt.errors import ConfigError
from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode

Way = Callable[[Path], object]


def encode_again(source: Path, target: Path, height: int) -> None:
    """Write a clip at another height, its width in proportion and even."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        video, sound = old.streams.video[0], old.streams.audio[0]
        picture = new.add_stream("libx264", rate=video.average_rate, options={"crf": "23", "preset": "medium"})
        picture.height, picture.width = height, round(video.width * height / video.height / 2) * 2
        picture.pix_fmt = "yuv420p"
        voice = new.add_stream("aac", rate=sound.rate, layout=sound.layout.name)
        for packet in old.demux([video, sound]):
            for frame in packet.decode():
                stream = picture if packet.stream is video else voice
                if stream is picture:
                    frame = frame.reformat(picture.width, height, "yuv420p")
                    frame.pict_type = 0
                new.mux(stream.encode(frame))
        for stream in (picture, voice):
            new.mux(stream.encode(None))


def by_decord(path: Path, *, through_pillow: bool) -> tuple[object, object]:
    """The published way: decord scales to the size, frames number ``i * n // 8``, each made a PIL picture and back."""
    from decord import AudioReader, VideoReader, cpu
    from PIL import Image

    reader = VideoReader(str(path), ctx=cpu(0), width=224, height=224, num_threads=1)
    frames = reader.get_batch([i * len(reader) // 8 for i in range(8)]).asnumpy()
    if through_pillow:
        pictures = [Image.fromarray(frame) for frame in frames]
        frames = np.stack([np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC)) for picture in pictures])
    waveform = AudioReader(str(path), ctx=cpu(0), sample_rate=16_000, mono=True)[:].asnumpy()
    return torch.from_numpy(frames), torch.from_numpy(waveform)


def ways() -> Iterator[tuple[str, Way]]:
    """Every way that works here."""
    yield "affectgpt, pyav", partial(decode, profile=MediaProfile())
    yield "affectgpt, pyav, official profile", partial(decode, profile=MediaProfile.named("official"))
    yield "affectgpt, pyav, every frame decoded", partial(decode, profile=MediaProfile(), thorough=True)
    try:
        import torchcodec.decoders  # noqa: F401

        yield "affectgpt, torchcodec", partial(decode, profile=MediaProfile(backend="torchcodec"))
    except (ImportError, OSError, RuntimeError, ConfigError) as error:
        print(f"torchcodec is left out: {str(error).splitlines()[0]}")
    try:
        import decord  # noqa: F401

        yield "decord", partial(by_decord, through_pillow=False)
        yield "decord, then PIL frame by frame (the published way)", partial(by_decord, through_pillow=True)
    except ImportError as error:
        print(f"decord is left out: {error}")


def main() -> None:
    """Print a table: median over the repeats of the mean over the clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 720, 1080])
    parser.add_argument("--limit", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    sources = sorted(args.clips.glob("*.mp4"))[: args.limit]
    versions = {name: _version(name) for name in ("av", "torchcodec", "decord", "torch", "pillow")}
    print(f"{platform.machine()}, one core, Python {platform.python_version()}, {versions}, {len(sources)} clips")
    table: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for height in args.heights:
            clips = [Path(folder) / f"{height}_{source.name}" for source in sources]
            for source, clip in zip(sources, clips, strict=True):
                encode_again(source, clip, height)
            seconds = [float(decode(clip, MediaProfile()).duration_seconds) for clip in clips]
            print(f"{height}p: {statistics.mean(seconds):.1f} s and {_kilobytes(clips):.0f} kB a clip")
            for name, means in measure(clips, list(ways()), args.repeats).items():
                table.setdefault(name, []).append(statistics.median(means))
    print(f"\n| ms a clip | {' | '.join(f'{height}p' for height in args.heights)} |")
    print(f"|---{'|---' * len(args.heights)}|")
    for name, cells in table.items():
        print(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |")


def measure(clips: list[Path], rivals: list[tuple[str, Way]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of processor time a clip, one figure for each repeat."""
    means: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):  # the first is for warming up
        spent: dict[str, list[float]] = {}
        for clip in clips:
            for name, way in rivals:
                start = time.process_time()
                way(clip)
                spent.setdefault(name, []).append(1000 * (time.process_time() - start))
        for name, values in spent.items():
            if repeat:
                means.setdefault(name, []).append(statistics.mean(values))
    return means


def _kilobytes(clips: list[Path]) -> float:
    return statistics.mean(clip.stat().st_size for clip in clips) / 1000


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
