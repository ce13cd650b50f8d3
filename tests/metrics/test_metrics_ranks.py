"""Two ranks with uneven shares give what one process gives, to the last bit."""

import random

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from affectgpt.metrics import (
    EmotionClassScore,
    EmotionHitRate,
    EmotionWheel,
    EmotionWheelScore,
    PreferenceScore,
    SentimentScore,
)

WORDS = ["happy", "joy", "sad", "furious", "calm", "neutral", "zzz", "anxious", "hurt", "proud", "bored"]


def samples():
    draw = random.Random(7)
    preds = [draw.choices(WORDS, k=draw.randrange(6)) for _ in range(101)]
    return preds, draw.choices(WORDS, k=101), draw.choices(["positive", "negative", "neutral", "?"], k=101)


def scores(share):
    preds, target, sentiments = samples()
    wheel = EmotionWheel.builtin()
    gold = torch.linspace(-1, 1, 101)
    found = []
    for mode in ("official", "strict"):
        wheel_score, hits, sentiment = (
            EmotionWheelScore(wheel, mode=mode),
            EmotionHitRate(wheel, mode=mode),
            SentimentScore(mode),
        )
        preference, emotion = PreferenceScore(mode), EmotionClassScore(WORDS, mode)
        for start in range(share.start, share.stop, 9):
            part = slice(start, min(start + 9, share.stop))
            wheel_score.update(preds[part], [[t] for t in target[part]])
            hits.update(preds[part], target[part])
            sentiment.update(sentiments[part], gold[part])
            preference.update(
                [f"a{len(labels)}" for labels in preds[part]], [f"a{1 + len(t) % 2}" for t in target[part]]
            )
            emotion.update([target[-1 - i] for i in range(*part.indices(101))], target[part])
        found += [one.compute() for one in (wheel_score, hits, sentiment, preference, emotion)]
    return [{name: value.item() for name, value in one.items()} for one in found]


def work(rank, address, result):
    dist.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    torch.save(scores(slice(0, 70) if rank == 0 else slice(70, 101)), f"{result}{rank}")
    dist.destroy_process_group()


def test_two_ranks_equal_one(tmp_path):
    mp.spawn(work, (str(tmp_path / "rendezvous"), str(tmp_path / "rank")), nprocs=2)
    expected = scores(slice(0, 101))
    assert torch.load(tmp_path / "rank0") == torch.load(tmp_path / "rank1") == expected
