"""Estimate step time and efficiency for 8 to 512 GPUs from a step on one device and the speed of the links.

    python benchmarks/scaling.py [--step SECONDS] [--spread 0.14] [--node 400] [--network 50]

Nothing is measured here; the formulas are in docs/speed.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from statistics import NormalDist

WORLDS = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Machine:
    """What links carry.

    Attributes:
        node: GB/s of each GPU to the others of its node (NVLink of an H100: 450 each way; 400 in practice).
        network: GB/s of each GPU to other nodes (one 400 Gb/s port each: 50).
        gpus: GPUs of a node.
        latency: Seconds of one message between nodes.
    """

    node: float = 400.0
    network: float = 50.0
    gpus: int = 8
    latency: float = 10e-6


def reduce_seconds(size: float, world: int, machine: Machine) -> float:
    """Seconds of a ring all-reduce of ``size`` bytes: each GPU sends ``2 (W - 1) / W`` times that."""
    link = machine.node if world <= machine.gpus else machine.network
    return 2 * (world - 1) / world * size / (link * 1e9) + 2 * (world - 1) * machine.latency


def slowest(spread: float, world: int) -> float:
    """How much longer the slowest of some ranks takes than the mean, where steps vary by ``spread`` (Blom 1958)."""
    return 1 + spread * NormalDist().inv_cdf((world - 0.375) / (world + 0.25))


def ddp_step(step: float, trained: float, world: int, machine: Machine, hidden: float = 0.5) -> float:
    """Seconds of a step with DDP.

    Args:
        step: Seconds of a step on one device.
        trained: Numbers that are trained; gradients are float32.
        world: GPUs.
        machine: Its links.
        hidden: Share of the step, its backward pass, behind which the exchange hides.
    """
    return step + max(0.0, reduce_seconds(4 * trained, world, machine) - hidden * step)


def fsdp_step(step: float, trained: float, total: float, world: int, machine: Machine) -> float:
    """Seconds of a step with FSDP2: bfloat16 weights gathered twice, gradients scattered, all behind the computing."""
    gathered = 2 * (world - 1) / world * 2 * total
    scattered = (world - 1) / world * 4 * trained
    link = machine.node if world <= machine.gpus else machine.network
    return max(step, (gathered + scattered) / (link * 1e9) + 3 * (world - 1) * machine.latency)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=float, default=0.35, help="seconds of a step on one device")
    parser.add_argument("--spread", type=float, default=0.14, help="how far the steps of a rank vary, as a share")
    parser.add_argument("--trained", type=float, default=57.2e6)
    parser.add_argument("--total", type=float, default=8.29e9)
    parser.add_argument("--node", type=float, default=400.0)
    parser.add_argument("--network", type=float, default=50.0)
    args = parser.parse_args()
    machine = Machine(args.node, args.network)
    print("| GPUs | DDP, even batches | DDP, batches as they come | FSDP2, as they come |")
    print("|---|---|---|---|")
    for world in WORLDS:
        waited = args.step * slowest(args.spread, world)
        ways = (
            ddp_step(args.step, args.trained, world, machine),
            ddp_step(waited, args.trained, world, machine),
            fsdp_step(waited, args.trained, args.total, world, machine),
        )
        print(f"| {world} | " + " | ".join(f"{s * 1e3:.0f} ms, {args.step / s:.0%}" for s in ways) + " |")


if __name__ == "__main__":
    main()
