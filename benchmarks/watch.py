"""Watch films of several lengths: peak memory, speed, and whether a killed run ends with the same table.

    python benchmarks/watch.py [--minutes 5 30 120] [--height 360] [--clips FILE ...] [--checkpoint FILE]
                               [--kill-minutes 5] [--folder FOLDER] [--out FILE.md]

A reel of about a minute is encoded from clips (by default those that the demo's corpus draws, faces and voices of
several people); its packets are then copied one after the other until the film is long enough, which takes seconds.
Each film is watched by ``affectgpt watch`` in a process of its own. Its memory is read every fifth of a second from
``/proc``, children included, so this runs on Linux only. The model is a tiny one with a face and a sound stream, unless
``--checkpoint`` names another.

The film of ``--kill-minutes`` is watched once more: the process is killed when half of it is answered, the same command
runs again, and both tables are compared byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from affectgpt import AffectGPT
from affectgpt.demo.corpus.synthetic_clip import write_clip
from affectgpt.demo.corpus.write_corpus import plan_clips

FRAME_RATE_HZ, SOUND_RATE_HZ = 25, 44_100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TINY = {
    "streams": {"face": {"encoder": {"name": "tiny-vision", "args": {"size": 64}}}, "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 64}},
    "style": "brief",
    "media": {"num_frames": 8, "frame_height": 64, "frame_width": 64},
    "max_new_tokens": 12,
}


def write_reel(clips: Sequence[Path], path: Path, height: int, seconds: float = 60.0) -> None:
    """Encode clips one after the other, over again until the reel is long enough; H.264 and AAC in stereo."""
    width = round(height * 16 / 9 / 2) * 2
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FRAME_RATE_HZ, options={"crf": "23", "preset": "veryfast", "g": "50"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=SOUND_RATE_HZ, layout="stereo")
        shown = heard = 0
        while shown < seconds * FRAME_RATE_HZ:
            for clip in clips:
                with av.open(str(clip)) as source:
                    frames = list(source.decode(video=0))
                    length = float(frames[-1].pts * frames[-1].time_base) + 1 / FRAME_RATE_HZ
                with av.open(str(clip)) as source:
                    resampler = av.AudioResampler("fltp", "stereo", SOUND_RATE_HZ)
                    decoded = [*source.decode(audio=0), None] if source.streams.audio else []
                    pieces = [one.to_ndarray() for frame in decoded for one in resampler.resample(frame)]
                count = round(length * FRAME_RATE_HZ)
                for number in range(count):
                    frame = frames[min(len(frames) - 1, number * len(frames) // count)]
                    frame = frame.reformat(width, height, "yuv420p")
                    frame.pts, frame.time_base = shown, Fraction(1, FRAME_RATE_HZ)
                    out.mux(video.encode(frame))
                    shown += 1
                wave = np.concatenate([np.zeros((2, 0), np.float32), *pieces], 1)
                wanted = round(shown / FRAME_RATE_HZ * SOUND_RATE_HZ) - heard
                wave = np.pad(wave, ((0, 0), (0, max(0, wanted - wave.shape[1]))))[:, :wanted]
                for start in range(0, wanted, 1024):
                    block = np.ascontiguousarray(wave[:, start : start + 1024])
                    sound = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                    sound.sample_rate, sound.pts = SOUND_RATE_HZ, heard
                    heard += block.shape[1]
                    out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def write_film(reel: Path, path: Path, seconds: float) -> float:
    """Copy the packets of a reel over and over; the length in seconds."""
    with av.open(str(reel)) as source, av.open(str(path), "w") as out:
        assert source.duration is not None
        length = source.duration / av.time_base + 0.2  # encoders stamp their first packets before 0
        copies = [out.add_stream_from_template(stream) for stream in source.streams]
        for turn in range(max(1, round(seconds / length))):
            source.seek(0)
            for packet in source.demux():
                if packet.dts is None or packet.pts is None:
                    continue
                moved = round(turn * length / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    with av.open(str(path)) as made:
        return (made.duration or 0) / av.time_base


@dataclass
class Run:
    """What was seen of a process.

    Attributes:
        seconds: How long it ran.
        peak_bytes: Largest resident memory of it and its children together.
        at_half_bytes: The same, up to the middle of the film.
        output: What it printed.
        code: Its exit code; negative for a signal.
    """

    seconds: float
    peak_bytes: int
    at_half_bytes: int
    output: str
    code: int


def watch(film: Path, out: Path, checkpoint: Path, *, length: float, kill_at: float | None = None) -> Run:
    """Run ``affectgpt watch``; with ``kill_at``, kill it when that many seconds of the film are answered."""
    words = [sys.executable, "-m", "affectgpt.cli.main", "watch", film, "--checkpoint", checkpoint, "--out", out]
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen([*map(str, words)], stdout=said, stderr=subprocess.STDOUT)
        peak = half = 0
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process.pid))
            answered = _answered_seconds(out)
            if answered < length / 2:
                half = peak
            if kill_at is not None and answered >= kill_at:
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        said.seek(0)
        return Run(seconds, peak, half, said.read().decode(errors="replace"), process.returncode)


def _answered_seconds(out: Path) -> float:
    try:
        return float(json.loads((out / "state.json").read_text())["seconds"])
    except (OSError, ValueError):
        return 0.0


def _resident_bytes(pid: int) -> int:
    """Of a process and all that it started."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):  # it ended
        return 0
    return own + sum(_resident_bytes(int(child)) for child in children)


def measure(minutes: float, reel: Path, folder: Path, checkpoint: Path, kills: bool) -> dict[str, Any]:
    """One row of the table."""
    film = folder / f"film_{minutes:g}.mp4"
    start = time.perf_counter()
    length = write_film(reel, film, 60 * minutes)
    made = time.perf_counter() - start
    run = watch(film, folder / f"whole_{minutes:g}", checkpoint, length=length)
    if run.code:
        raise SystemExit(f"watch ended with {run.code}:\n{run.output[-2000:]}")
    row = {
        "minutes": length / 60,
        "megabytes": film.stat().st_size / 1e6,
        "making": made,
        "rows": _lines(folder / f"whole_{minutes:g}" / "answers.jsonl"),
        "peak": run.peak_bytes / 1e9,
        "half": run.at_half_bytes / 1e9,
        "seconds": run.seconds,
        "rate": length / run.seconds,
    }
    if kills:
        out = folder / f"killed_{minutes:g}"
        row["killed"] = watch(film, out, checkpoint, length=length, kill_at=length / 2).code
        row["answered"] = _answered_seconds(out)
        again = watch(film, out, checkpoint, length=length)
        row["same"] = again.code == 0 and all(
            (out / name).read_bytes() == (folder / f"whole_{minutes:g}" / name).read_bytes()
            for name in ("answers.csv", "answers.jsonl", "answers.vtt", "answers.srt", "answers.eaf")
        )
    film.unlink()
    return row


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def report(rows: Sequence[dict[str, Any]], args: argparse.Namespace, model: str) -> str:
    """The table, and what it was measured with."""
    clips = "clips that the demo's corpus draws" if not args.clips else f"{len(args.clips)} real clips"
    given = f"--minutes {' '.join(f'{one:g}' for one in args.minutes)} --height {args.height}"
    if args.kill_minutes:
        given += f" --kill-minutes {' '.join(f'{one:g}' for one in args.kill_minutes)}"
    lines = [
        "# Films of several lengths",
        "",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} thread(s), Python {platform.python_version()}, "
        f"torch {torch.__version__}, PyAV {av.__version__}; "
        f"`python benchmarks/watch.py {given}`. {args.note}".rstrip(),
        "",
        f"Films of {args.height} lines at {FRAME_RATE_HZ} pictures a second, made of {clips}; {model}. Memory is the "
        "resident memory of the command and its children, read five times a second; the first half is up to the middle "
        "of the film.",
        "",
        "| minutes | MB | answers | peak memory, GB | in the first half, GB | seconds | seconds of film a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['minutes']:.1f} | {row['megabytes']:,.0f} | {row['rows']:,} | {row['peak']:.2f} "
            f"| {row['half']:.2f} | {row['seconds']:,.0f} | {row['rate']:.1f} |"
        )
    for row in rows:
        if "same" in row:
            same = "the same files, byte by byte" if row["same"] else "other files"
            lines += [
                "",
                f"The film of {row['minutes']:.1f} minutes, killed (SIGKILL) when {row['answered']:.0f} s were "
                f"answered and watched again, gave {same}: `answers.csv`, `.jsonl`, `.vtt`, `.srt`, `.eaf`.",
            ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Callable[..., Any] = parser.add_argument
    add("--minutes", type=float, nargs="+", default=[5, 30, 120])
    add("--height", type=int, default=360, help="lines of the film's pictures")
    add("--clips", type=Path, nargs="*", default=[], help="clips of your own for the reel")
    add("--checkpoint", type=Path, help="the model; by default a tiny one")
    add("--kill-minutes", type=float, nargs="*", default=[5], help="films that are also killed and watched again")
    add("--folder", type=Path, help="where films and answers go; by default a temporary folder")
    add("--note", default="", help="a sentence for the result file, such as that the machine was shared")
    add("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        clips = args.clips
        if not clips:
            (folder / "clips").mkdir(exist_ok=True)
            for plan in plan_clips("test", 24, seed=0):
                write_clip(plan, folder / "clips")
            clips = sorted((folder / "clips").glob("*.mp4"))
        write_reel(clips, folder / "reel.mp4", args.height)
        checkpoint = args.checkpoint
        if checkpoint is None:
            checkpoint = folder / "tiny"
            torch.manual_seed(0)
            AffectGPT.from_config(TINY).save_pretrained(checkpoint)
        size = sum(weight.numel() for weight in AffectGPT.load(checkpoint).parameters()) / 1e6
        model = (
            f"{'a tiny model' if args.checkpoint is None else 'the model of `--checkpoint`'}, {size:,.1f} M parameters"
        )
        rows = []
        for minutes in args.minutes:
            rows.append(measure(minutes, folder / "reel.mp4", folder, checkpoint, minutes in args.kill_minutes))
            print(json.dumps(rows[-1]), flush=True)
            text = report(rows, args, model)
            if args.out:
                args.out.write_text(text)
        print(text)


if __name__ == "__main__":
    main()
