"""One rank of a run that logs single figures with Lightning's ``self.log``; prints what was logged."""

import json
import logging
import sys
import warnings

import lightning
import torch
from torch.utils.data import DataLoader

from affectgpt.metrics import EmotionWheel, HitRate, SentimentF1, WheelF1
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL

WHEEL = EmotionWheel.builtin()
WORDS = ["happy", "joy", "sad", "furious", "calm", NEUTRAL, "zzz", "amazed"]
SAMPLES = [(WORDS[i % 8], WORDS[(i * 3 + 1) % 8], ["positive", "negative"][i % 2], (i % 5) - 2.0) for i in range(24)]


class Logs(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.f1 = WheelF1(WHEEL, mode="strict")
        self.hits = HitRate(WHEEL)
        self.sentiment = SentimentF1()

    def training_step(self, batch, index):
        self.hits([[answer] for answer, *_ in batch], [truth for _, truth, *_ in batch])
        self.log("train/hits", self.hits, on_step=True, on_epoch=True, batch_size=len(batch))
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch, index):
        self.f1.update([[answer] for answer, *_ in batch], [[truth] for _, truth, *_ in batch])
        self.sentiment.update([said for *_, said, _ in batch], [score for *_, score in batch])
        self.log("val/f1", self.f1, batch_size=len(batch))
        self.log("val/sentiment", self.sentiment, batch_size=len(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def run(world_size, folder):
    """Metrics of two epochs over all samples."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    loader = DataLoader(SAMPLES, batch_size=4, collate_fn=list)
    model = Logs()
    trainer.fit(model, loader, loader)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    found = run(int(sys.argv[1]), sys.argv[2])
    sys.stdout.write(f"LOGGED {json.dumps(found)}\n")
