import json
import shutil
from functools import partial

import lightning
import pytest
import torch

from affectgpt.datamodules import MERCaptionDataModule, UniBenchDataModule
from affectgpt.errors import ConfigError, DataError
from affectgpt.media.profile import MediaProfile
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.registry import DATAMODULES

MEDIA = {"num_frames": 1, "frame_height": 8, "frame_width": 8, "num_segments": 1, "segment_seconds": 0.1}


class Recorder(lightning.LightningModule):
    """Learns the shade of a clip, and writes down what it saw."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = {"train": [], "val": [], "test": [], "predict": []}

    def _step(self, stage, batch):
        self.seen[stage].append((self.current_epoch, batch))
        return self.layer(batch.media["frame"].float().mean((1, 2, 3, 4))[:, None] / 255).square().mean()

    def training_step(self, batch):
        return self._step("train", batch)

    def validation_step(self, batch):
        self._step("val", batch)

    def test_step(self, batch):
        self._step("test", batch)

    def predict_step(self, batch):
        self._step("predict", batch)
        return batch.keys

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def trainer(**options):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return lightning.Trainer(accelerator="cpu", devices=1, **quiet, **options)


def epochs_of(model):
    epochs = {}
    for epoch, batch in model.seen["train"]:
        epochs.setdefault(epoch, []).append(batch.keys)
    return epochs


@pytest.mark.filterwarnings("ignore")
def test_training_through_lightning_reshuffles_and_repeats_with_any_number_of_workers(shards):
    runs = {}
    for num_workers in (0, 2):
        model = Recorder()
        data = MERCaptionDataModule(
            train=str(shards), val=str(shards), batch_size=3, num_workers=num_workers, media=MEDIA, drop_last=False
        )
        trainer(max_epochs=2).fit(model, data)
        runs[num_workers] = epochs_of(model)
        assert model.seen["val"]
        questions = {q for _, batch in model.seen["train"] for q in batch.questions}
        assert questions == {OFFICIAL.label_question, OFFICIAL.description_question}
        assert {q for _, batch in model.seen["val"] for q in batch.questions} == {OFFICIAL.label_question}
    for epochs in runs.values():
        assert list(epochs) == [0, 1]
        for batches in epochs.values():
            assert [len(batch) for batch in batches] == [3, 3, 3, 1]
            assert sorted(key for batch in batches for key in batch) == [f"clip{i}" for i in range(10)]
        assert epochs[0] != epochs[1]
    assert runs[0] == runs[2]


@pytest.mark.filterwarnings("ignore")
def test_other_stages_keep_the_order_of_packing(shards):
    data = MERCaptionDataModule(test=str(shards), predict=str(shards), batch_size=4, num_workers=2, media=MEDIA)
    model = Recorder()
    trainer().test(model, data, verbose=False)
    answers = [answer for _, batch in model.seen["test"] for answer in batch.answers]
    assert answers[:2] == [
        "The character's emotional state is happy.",
        "The character's emotional state is sad, tired.",
    ]
    found = trainer().predict(model, data)
    assert [key for batch in found for key in batch] == [f"clip{i}" for i in range(10)]
    assert all(batch.answers is None for _, batch in model.seen["predict"])


def test_batches_hold_what_the_clips_offer(shards):
    data = MERCaptionDataModule(train=str(shards), batch_size=10, num_workers=0, media=MEDIA, cache_decoded=True)
    loader = data.train_dataloader()
    (batch,) = list(loader)
    row = batch.keys.index("clip3")
    assert batch.keep["audio"].sum() == 9
    assert not batch.keep["audio"][row].any()
    assert batch.subtitles[row] == "words 3"
    again = next(iter(loader))
    assert torch.equal(again.media["frame"], batch.media["frame"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "no data"),
        ({"train": "x", "batch_size": 0}, "batch_size=0"),
        ({"train": "x", "num_workers": 1, "cache_decoded": True}, "and 0 if decoded clips are kept"),
        ({"train": "x", "task": "labls"}, "unknown task 'labls'"),
        ({"train": "x", "media": {"frames": 3}}, "unknown key 'frames'"),
    ],
)
def test_wrong_arguments_are_refused(args, words):
    with pytest.raises(ConfigError, match=words):
        DATAMODULES.build({"name": "mercaption", "args": args})


@pytest.mark.parametrize("make", [partial(MERCaptionDataModule, "set"), partial(UniBenchDataModule, "set")])
def test_a_media_profile_is_stored_as_plain_json(make):
    profile = MediaProfile(num_frames=3)
    stored = json.loads(json.dumps(make(media=profile).hparams["media"]))
    assert MediaProfile.of(stored) == profile


def test_a_missing_stage_folder_or_whole_batch_is_refused(shards, tmp_path):
    data = MERCaptionDataModule(train=str(shards), batch_size=11, num_workers=0, media=MEDIA)
    with pytest.raises(ConfigError, match="do not fill a batch of 11"):
        data.train_dataloader()
    with pytest.raises(ConfigError, match="no test data"):
        data.setup("test")
    with pytest.raises(DataError, match="is not a shard folder"):
        MERCaptionDataModule(train=str(tmp_path)).setup("fit")


def test_an_error_in_a_worker_is_one_readable_line(shards, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(shards, folder)
    for path in folder.glob("*.tar"):
        path.write_bytes(path.read_bytes().replace(b"moov", b"xxxx"))
    data = MERCaptionDataModule(train=str(folder), num_workers=1, batch_size=2, media=MEDIA)
    with pytest.raises(DataError) as caught:
        list(data.train_dataloader())
    assert str(caught.value).startswith("clip 'clip")
    assert "\n" not in str(caught.value)


def test_a_loop_of_ones_own_chooses_epoch_and_place(shards):
    data = MERCaptionDataModule(train=str(shards), batch_size=2, num_workers=0, media=MEDIA)
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        epochs.append([batch.keys for batch in loader])
    assert epochs[0] != epochs[1]
    loader.set_epoch(1, skip_batches=3)
    assert [batch.keys for batch in loader] == epochs[1][3:]
