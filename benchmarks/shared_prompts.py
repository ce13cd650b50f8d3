"""Time a group of answers with one pass over their prompt, beside a pass over the prompt for each answer.

    OMP_NUM_THREADS=1 python benchmarks/shared_prompts.py [--prompts 24 200] [--group 8] [--repeats 3]

Processor seconds, medians: drawing the answers, and their log-probabilities with the gradients. SmolLM2-135M with LoRA,
four prompts, six tokens an answer.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from affectgpt.llm import AnswerSampling, LLMHead, smollm2_135m_instruct

PROMPTS, ANSWER = 4, 6


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="*", default=[24, 200], help="tokens of a prompt")
    parser.add_argument("--group", type=int, default=8, help="answers to a prompt")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    head = smollm2_135m_instruct(lora={"rank": 8, "alpha": 16, "dropout": 0.0})
    torch.manual_seed(0)
    print("| tokens of a prompt | what | one pass, s | a pass each, s | quicker by |")
    print("|---|---|---|---|---|")
    for length in args.prompts:
        embeds = 0.1 * torch.randn(PROMPTS, length, head.hidden_dim)
        keep = torch.ones(PROMPTS, length, dtype=torch.bool)
        ids = torch.randint(5, 2000, (PROMPTS * args.group, ANSWER))
        answered = torch.ones_like(ids, dtype=torch.bool)

        for name, both in ways(head, (embeds, keep, ids, answered), args.group).items():
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(args.repeats):  # in turns, so that both meet the same neighbours
                for one, work in zip(times, both, strict=True):
                    start = time.process_time()
                    work()
                    one.append(time.process_time() - start)
            shared, each = (statistics.median(one) for one in times)
            print(f"| {length} | {name} | {shared:.2f} | {each:.2f} | {each / shared:.1f} x |", flush=True)


def ways(head: LLMHead, given: tuple[torch.Tensor, ...], group: int) -> dict[str, list[Callable[[], None]]]:
    """What is timed: with one pass over each prompt, and with one for each answer."""
    embeds, keep = given[:2]

    def learn(losses: Callable[..., torch.Tensor]) -> None:
        losses(embeds.clone().requires_grad_(), *given[1:]).mean().backward()

    def draw(answers: int, repeats: int) -> None:
        asked, there = (one.repeat_interleave(repeats, 0) for one in (embeds, keep))
        head.write(asked, there, ANSWER, sampling=AnswerSampling(temperature=1.0, num_answers=answers, seed=0))

    each = partial(LLMHead.group_losses, head)
    return {
        "drawing": [partial(draw, group, 1), partial(draw, 1, group)],
        "log-probabilities and gradients": [partial(learn, head.group_losses), partial(learn, each)],
    }


if __name__ == "__main__":
    main()
