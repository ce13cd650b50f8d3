"""What `loaders.py` measures beside affectgpt: WebDataset's own loader, mosaicml-streaming and energon.

The last two pin other versions of torch's neighbours than affectgpt, so they are no extra of it. To measure them too:

    pip install --target others --no-deps mosaicml-streaming xxhash zstd brotli python-snappy cramjam catalogue
    PYTHONPATH=others python benchmarks/loaders.py

and for energon likewise `megatron-energon` with what its import asks for. What is not there is left out of the table.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import webdataset
from torch.utils.data import DataLoader

BATCH = 8
Sample = dict[str, Any]
Decode = Callable[[Sample], Any]
Loader = Callable[[Path, Decode, int], Iterator[Any]]


def with_webdataset(folder: Path, decode: Decode, workers: int) -> Iterator[Any]:
    """WebDataset in the order of the files, each worker its own shards."""
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    data = webdataset.WebDataset(urls, shardshuffle=False, workersplitter=webdataset.split_by_worker).map(decode)
    return iter(DataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=list))


def with_mosaicml(folder: Path, decode: Decode, workers: int) -> Iterator[Any]:
    """mosaicml-streaming, shuffled, from a copy of the samples in its own format."""
    import streaming

    class Clips(streaming.StreamingDataset):
        def __getitem__(self, number: int) -> Any:
            return decode(super().__getitem__(number))

    copy = folder.with_name(f"{folder.name}-mds")
    if not copy.exists():
        columns = {"__key__": "str", "mp4": "bytes", "json": "bytes"}
        with streaming.MDSWriter(out=str(copy), columns=columns, size_limit=2**25) as writer:
            for sample in webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False):
                writer.write({name: sample[name] for name in columns})
    streaming.base.util.clean_stale_shared_memory()
    data = Clips(local=str(copy), shuffle=True, shuffle_seed=1, batch_size=BATCH)
    return iter(DataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=list))


def with_energon(folder: Path, decode: Decode, workers: int) -> Iterator[Any]:
    """Energon, shuffled, on the same tars in a folder of their own with its index; its training data has no end."""
    from megatron import energon
    from megatron.energon.flavors import BaseWebdatasetFactory

    copy = folder.with_name(f"{folder.name}-energon")
    if not copy.exists():
        shutil.copytree(folder, copy)
        names = sorted(path.name for path in copy.glob("*.tar"))
        BaseWebdatasetFactory.prepare_dataset(copy, names, split_parts_ratio=[("train", 1.0)], workers=1)
        (copy / ".nv-meta" / "dataset.yaml").write_text(
            "__module__: megatron.energon\n__class__: CrudeWebdataset\n", "utf-8"
        )

    class Clips(energon.DefaultTaskEncoder):
        decoder = None  # it would decode the members in its own way
        cookers = (energon.Cooker(energon.stateless(_members)),)

        @energon.stateless
        def encode_sample(self, sample: Sample) -> Sample:
            return {**sample, "clip": decode({name: sample[name] for name in ("__key__", "mp4", "json")})}

        @energon.stateless
        def batch(self, samples: list[Any]) -> Any:
            return [samples]

    data = energon.get_train_dataset(
        copy,
        batch_size=BATCH,
        shuffle_buffer_size=BATCH,
        max_samples_per_sequence=BATCH,
        worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=workers),
        task_encoder=Clips(),
    )
    samples = sum(shard["samples"] for shard in json.loads((folder / "index.json").read_text())["shards"])
    return (batch[0] for batch in itertools.islice(iter(energon.get_loader(data)), samples // BATCH))


def _members(sample: Sample) -> Sample:
    return sample


LOADERS: dict[str, tuple[str, Loader]] = {
    "WebDataset": ("webdataset", with_webdataset),
    "mosaicml-streaming": ("streaming", with_mosaicml),
    "energon": ("megatron", with_energon),
}
"""Name in the table to the module that must be there, and how it is read."""


def installed() -> dict[str, Loader]:
    """The loaders that can be measured here."""
    return {name: read for name, (module, read) in LOADERS.items() if importlib.util.find_spec(module) is not None}
