"""One rank that answers test sets through Lightning, and writes which keys it answered in how many steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lightning
import torch

from affectgpt import AffectGPT
from affectgpt.datamodules import UniBenchDataModule

MEDIA = {"num_frames": 1, "num_segments": 1, "segment_seconds": 0.1, "frame_height": 16, "frame_width": 16}


def main(folder: str, out: str) -> None:
    torch.manual_seed(0)
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    model = AffectGPT.from_config({"streams": streams, "llm": "tiny", "media": MEDIA, "max_new_tokens": 2})
    data = UniBenchDataModule(folder, batch_size=2, num_workers=0, media=model.media.to_json(), allow_partial=True)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False, default_root_dir=out
    )
    batches = trainer.predict(model, data)
    keys = [[answer.key for answer in batch] for batch in batches]
    trainer.test(model, data, verbose=False)
    record = {"keys": keys, "unreadable": data.unreadable}
    Path(out, f"rank{trainer.global_rank}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
