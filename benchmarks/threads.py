"""Time the writing of a few tokens with a number of threads: run it on a quiet machine, and beside another process.

    OMP_NUM_THREADS=2 python benchmarks/threads.py [--batches 1 40] [--tokens 8]

Wall-clock and processor seconds with the threads that were given, and with those that ``answer_set`` would choose.
"""

from __future__ import annotations

import argparse
import time

import torch

from affectgpt.llm import smollm2_135m_instruct
from affectgpt.llm.thread_choice import quickest_threads


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 40])
    parser.add_argument("--tokens", type=int, default=8)
    args = parser.parse_args()
    given = torch.get_num_threads()
    head = smollm2_135m_instruct(lora=None).eval()
    torch.manual_seed(0)
    print("| threads | rows | wall-clock s | processor s | rows/s |")
    print("|---|---|---|---|---|")
    for size in args.batches:
        ids = torch.randint(5, 2000, (size, 60))
        keep, embeds = torch.ones_like(ids, dtype=torch.bool), head.embed(ids)
        for name, count in (("given", given), ("chosen", quickest_threads(given))):
            torch.set_num_threads(count)
            head.write(embeds[:1], keep[:1], 2)
            start, clock = time.perf_counter(), time.process_time()
            head.write(embeds, keep, args.tokens)
            wall, busy = time.perf_counter() - start, time.process_time() - clock
            print(f"| {count} ({name}) | {size} | {wall:.2f} | {busy:.2f} | {size / wall:.2f} |", flush=True)
            torch.set_num_threads(given)


if __name__ == "__main__":
    main()
