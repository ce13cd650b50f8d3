"""Load the service with many clients: throughput at batch 1 and batched, p50 and p99, and what it refuses.

    python benchmarks/serve.py [--clients 1 8 32] [--batches 1 8 16] [--requests 64] [--threads 1]
                               [--demo-folder FOLDER] [--out FILE.md]

The service runs in this process behind a real port, with the model of ``affectgpt demo`` (SmolLM2-135M with LoRA) and
answers of at most 20 tokens. The clients run in a process of their own; each
asks again as soon as it has its answer, with a clip of its own and the words of real sets, short and long. So every row
is a closed loop: its throughput is what that many clients get, and its seconds are what one of them waits.

The first row has no service: one clip after the other through ``AffectGPT.predict``, as a script would do it. The last
row has more clients than the queue has positions; those that get 429 are counted, and ask again after ``Retry-After``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import tempfile
import threading
import time
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from spoken_words import spoken_in  # a neighbour of this script

from affectgpt import AffectGPT
from affectgpt.demo.corpus.synthetic_clip import write_clip
from affectgpt.demo.corpus.write_corpus import plan_clips
from affectgpt.serve import ServiceSettings, create_app
from affectgpt.serve.prompt_writer import NetworkWriter
from affectgpt.serve.uvicorn_server import make_server


def build_model(folder: Path | None) -> AffectGPT:
    """The model that answers."""
    if folder is not None:
        return AffectGPT.from_checkpoint(folder / "model.ckpt")
    torch.manual_seed(0)
    settings = yaml.safe_load(resources.files("affectgpt.demo").joinpath("demo.yaml").read_text())
    return AffectGPT.from_config(settings["model"])


class SizedWriter(NetworkWriter):
    """Notes how many prompts are written at a time."""

    def __init__(self, model: AffectGPT) -> None:
        super().__init__(model.network)
        self.sizes: list[int] = []

    def __call__(self, prompt: Any, content: Any, max_new_tokens: int, sampling: Any) -> Any:
        """Write, and note."""
        self.sizes.append(len(prompt.ids))
        return super().__call__(prompt, content, max_new_tokens, sampling)


def run_clients(url: str, clips: list[bytes], clients: int, requests: int, results: Any) -> None:
    """In a process of its own: ask until all is answered; seconds of each answer, statuses, and seconds in all."""
    import httpx2

    async def main() -> tuple[list[float], Counter[int], float]:
        seconds: list[float] = []
        statuses: Counter[int] = Counter()
        left = iter(range(requests))

        async def client(session: httpx2.AsyncClient) -> None:
            for number in left:
                files = {"file": (f"{number}.mp4", clips[number % len(clips)])}
                data = {"subtitle": spoken_in(number)}
                start = time.perf_counter()
                while True:
                    answer = await session.post("/v1/answers", files=files, data=data)
                    statuses[answer.status_code] += 1
                    if answer.status_code != 429:
                        break
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
                answer.raise_for_status()
                seconds.append(time.perf_counter() - start)

        async with httpx2.AsyncClient(base_url=url, timeout=600, limits=httpx2.Limits(max_connections=None)) as session:
            start = time.perf_counter()
            await asyncio.gather(*(client(session) for _ in range(clients)))
            return seconds, statuses, time.perf_counter() - start

    results.put(asyncio.run(main()))


def measure(
    model: AffectGPT, clips: list[bytes], args: argparse.Namespace, *, clients: int, batch: int, queue: int
) -> dict[str, Any]:
    """One row."""
    writer, ready, urls = SizedWriter(model), threading.Event(), []
    settings = ServiceSettings(max_batch=batch, max_queue=queue, timeout_seconds=600, decoders=args.decoders)

    def note(url: str) -> None:
        urls.append(url)
        ready.set()

    app = create_app(model, settings, writer=writer)
    server, bound = make_server(app, port=0, settings=settings, ready=note)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    with bound:
        thread.start()
        ready.wait()
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        for requests in (min(batch, 4), args.requests):  # the first few warm up
            writer.sizes.clear()
            call = (urls[0], clips, clients, requests, results)
            process = context.Process(target=run_clients, args=call)
            process.start()
            seconds, statuses, total = results.get()
            process.join()
        server.should_exit = True
        thread.join()
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {
        "way": "service",
        "batch": batch,
        "clients": clients,
        "queue": queue,
        "rate": len(seconds) / total,
        "p50": cuts[49],
        "p99": cuts[98],
        "mean_batch": statistics.mean(writer.sizes),
        "refused": statuses[429],
        "statuses": dict(statuses),
    }


def one_by_one(model: AffectGPT, clips: list[bytes], requests: int) -> dict[str, Any]:
    """The row without a service."""
    model.predict(clips[0], spoken_in(0))
    seconds = []
    for number in range(requests):
        start = time.perf_counter()
        model.predict(clips[number % len(clips)], spoken_in(number))
        seconds.append(time.perf_counter() - start)
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    facts = {"way": "`predict`, one by one", "batch": 1, "clients": 1, "queue": 1, "mean_batch": 1.0, "refused": 0}
    return {**facts, "rate": requests / sum(seconds), "p50": cuts[49], "p99": cuts[98]}


def report(rows: list[dict[str, Any]], args: argparse.Namespace, model: AffectGPT) -> str:
    """The table, and what it was measured with."""
    device = torch.cuda.get_device_name(0) if model.device.type == "cuda" else platform.machine()
    given = " ".join(f"--{name} {' '.join(map(str, getattr(args, name)))}" for name in ("clients", "batches"))
    trained = ", as it was trained" if args.demo_folder else ", the model of `affectgpt demo` with untrained fusion"
    size = sum(weight.numel() for weight in model.parameters())
    lines = [
        "# The service under load",
        "",
        f"{time.strftime('%Y-%m-%d')}, {device}, {torch.get_num_threads()} thread(s), "
        f"Python {platform.python_version()}, torch {torch.__version__}; `python benchmarks/serve.py {given} "
        f"--requests {args.requests} --threads {args.threads} --decoders {args.decoders}`. {args.note}".rstrip(),
        "",
        f"{size / 1e6:,.0f} M parameters ({model.hparams['llm']['name']}{trained}), answers of at most "
        f"{model.max_new_tokens} tokens. Closed loop: each client asks again as soon as it is answered. Seconds are "
        "those that a client waits, upload and decoding included.",
        "",
        "| way | largest batch | clients | answers a second | ratio | p50, s | p99, s | mean batch | refused (429) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    first = min(args.batches)
    base = {row["clients"]: row["rate"] for row in rows if row["way"] == "service" and row["batch"] == first}
    for row in rows:
        served = row["way"] == "service" and row["clients"] in base
        ratio = f"{row['rate'] / base[row['clients']]:.1f}x" if served else "-"
        way = row["way"] if row["queue"] >= row["clients"] else f"{row['way']}, queue of {row['queue']}"
        lines.append(
            f"| {way} | {row['batch']} | {row['clients']} | {row['rate']:.2f} | {ratio} | {row['p50']:.2f} "
            f"| {row['p99']:.2f} | {row['mean_batch']:.1f} | {row['refused']} |"
        )
    return "\n".join([*lines, "", "The ratio is to the service with the smallest batch and as many clients."]) + "\n"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--requests", type=int, default=64, help="requests of each row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--decoders", type=int, default=1)
    parser.add_argument(
        "--demo-folder",
        type=Path,
        help="folder of `affectgpt demo`, whose trained model answers; its answers may end sooner",
    )
    parser.add_argument(
        "--note", default="", help="a sentence for the result file, such as that the machine was shared"
    )
    parser.add_argument("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = build_model(args.demo_folder).eval()
    if torch.cuda.is_available():
        model.cuda()
    with tempfile.TemporaryDirectory() as folder:
        for plan in plan_clips("test", 8, seed=0):
            write_clip(plan, Path(folder))
        clips = [path.read_bytes() for path in sorted(Path(folder).rglob("*.mp4"))]
    rows = [one_by_one(model, clips, max(4, args.requests // 4))]
    print(json.dumps(rows[-1]), flush=True)
    for clients in args.clients:
        for batch in args.batches:
            rows.append(measure(model, clips, args, clients=clients, batch=batch, queue=max(64, clients)))
            print(json.dumps(rows[-1]), flush=True)
    most = max(args.clients)
    rows.append(measure(model, clips, args, clients=most, batch=max(args.batches), queue=max(1, most // 2)))
    print(json.dumps(rows[-1]), flush=True)
    text = report(rows, args, model)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
