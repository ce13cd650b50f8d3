"""Where somebody speaks, what is said, and that nothing is heard in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode
from affectgpt.media.speech import Asr, Segment, Transcript, build_asr, speech_segments, transcribe_clip
from affectgpt.media.speech.faster_whisper import FasterWhisperAsr
from affectgpt.media.speech.transcribe import join_segments
from affectgpt.registry import ASRS
from clipmaker import make_clip, make_wav

pytest.importorskip("silero_vad", reason="silero-vad is not installed (affectgpt[speech])")

SOUND = MediaProfile(sources=("audio",))
SPEAKING = "sample_00000167.mp4"


def noise(seconds: float, loudness: float) -> torch.Tensor:
    return loudness * torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def ctc_folder(tmp_path_factory) -> Path:
    """A tiny wav2vec2 with weights drawn at random: real code, words without meaning."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
    from transformers import Wav2Vec2Processor as Processor

    folder = tmp_path_factory.mktemp("ctc")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    convolutions = {"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 16), "feat_extract_norm": "layer"}
    config = Wav2Vec2Config(
        vocab_size=len(letters), **sizes, **convolutions, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory) -> Path:
    """A tiny Whisper with weights drawn at random, which knows two languages and may only write bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
    from transformers import WhisperProcessor as Processor
    from transformers import WhisperTokenizerFast as Tokenizer

    folder = tmp_path_factory.mktemp("whisper")
    end = "<|endoftext|>"
    special = [end, "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
    special += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    letters = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(vocab=letters, merges=[], unk_token=end, bos_token=end, eos_token=end)
    tokenizer.add_tokens(special, special_tokens=True)
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    heads = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ends = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), ids[end])
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_ffn_dim=16, decoder_ffn_dim=16, **heads, **ends,
        decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    known = {
        "lang_to_id": {name: ids[name] for name in ("<|en|>", "<|zh|>")},
        "task_to_id": {"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]},
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "suppress_tokens": [i for name, i in ids.items() if name not in ("<|en|>", "<|zh|>")],
        "is_multilingual": True,
        "alignment_heads": [[0, 0]],
        "max_length": 24,
    }
    for name, value in known.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    Processor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


class Parrot(Asr):
    """Says how long it was allowed to listen."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    def transcribe(self, waveform, language=None):
        assert waveform.dtype == torch.float32
        self.heard.append(len(waveform) / 16_000)
        return f"part {len(self.heard)}", language or "en"


class Deaf(Asr):
    """Must not be asked."""

    def transcribe(self, waveform, language=None):
        raise AssertionError("there was nothing to hear")


def test_speech_is_found_in_every_real_clip(shared: Path) -> None:
    for path in sorted((shared / "data" / "clips").glob("*.mp4")):
        waveform = decode(path, SOUND).waveform
        found = speech_segments(waveform)
        assert found, path.name
        assert all(0 <= s.start_seconds < s.end_seconds <= len(waveform) / 16_000 for s in found)
    assert sum(s.end_seconds - s.start_seconds for s in speech_segments(decode(path, SOUND).waveform)) < 1


@pytest.mark.parametrize(
    "waveform",
    [torch.zeros(0), torch.zeros(48_000), noise(3, 1e-5), noise(3, 0.003), noise(3, 0.2), noise(0.01, 0.5)],
    ids=["empty", "zeros", "below -80 dB", "quiet noise", "loud noise", "a hundredth of a second"],
)
def test_nobody_speaks_in_silence_and_noise(waveform: torch.Tensor) -> None:
    assert speech_segments(waveform) == []


def test_finding_speech_leaves_the_threads_of_torch_alone() -> None:
    code = (
        "import torch; torch.set_num_threads(3); from affectgpt.media.speech import speech_segments as find;"
        "find(torch.randn(16000)); assert torch.get_num_threads() == 3, torch.get_num_threads()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (lambda: make_clip(1.0, audio=False), "the file has no audio track"),
        (lambda: make_clip(1.0, tone_hz=0.0), "its audio track is silent"),
        (lambda: make_wav(2.0), "nobody speaks in its audio track"),
    ],
    ids=["no track", "silent", "a tone"],
)
def test_nothing_is_transcribed_where_nobody_speaks(source, reason) -> None:
    assert transcribe_clip(source(), Deaf()) == Transcript(None, reason=reason)


def test_music_and_film_noise_are_not_transcribed(shared: Path) -> None:
    for name in ("no_face.mp4", "llamafactory_1.mp3", "single_face.mp4"):
        assert transcribe_clip(shared / "data" / "odd_media" / name, Deaf()).text is None


def test_the_recogniser_hears_only_the_speech(shared: Path) -> None:
    parrot = Parrot()
    heard = transcribe_clip(shared / "data" / "clips" / "samplenew_00051251.mp4", parrot)
    assert heard.text == "part 1"
    assert heard.language == "en"
    assert heard.reason is None
    assert parrot.heard[0] < 1.5  # of 2.1 seconds
    assert heard.segments[0].text == "part 1"
    assert json.loads(json.dumps(heard.to_json()))["text"] == "part 1"


def test_long_speech_is_heard_in_parts_that_a_recogniser_can_take() -> None:
    joined = join_segments([Segment(0, 70), Segment(71, 72)])
    assert [(s.start_seconds, s.end_seconds) for s in joined] == [(0, 28), (28, 56), (56, 72)]
    assert join_segments([]) == []


def test_a_model_of_transformers_writes_down_what_it_hears(shared: Path, ctc_folder: Path) -> None:
    asr = build_asr(f"transformers:{ctc_folder}")
    waveform = decode(shared / "data" / "clips" / SPEAKING, SOUND).waveform
    words, language = asr.transcribe(waveform, "zh")
    assert words
    assert set(words) <= set("abcdefgh <>/spunk")  # its letters and special tokens, drawn at random
    assert language == "zh"
    heard = transcribe_clip(shared / "data" / "clips" / SPEAKING, asr)
    assert heard.text
    assert heard.language is None


@pytest.mark.parametrize("language", [None, "zh"])
def test_whisper_is_told_the_language_if_it_is_known(shared, whisper_folder, language) -> None:
    asr = build_asr(f"transformers:{whisper_folder}")
    heard = transcribe_clip(shared / "data" / "clips" / SPEAKING, asr, language=language)
    assert heard.text
    assert heard.language == language


def test_faster_whisper_reads_a_converted_folder(shared, whisper_folder, tmp_path) -> None:
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed (affectgpt[asr])")
    from ctranslate2.converters import TransformersConverter

    converter = TransformersConverter(str(whisper_folder), copy_files=["tokenizer.json"])
    converter.convert(str(tmp_path / "converted"))
    heard = transcribe_clip(shared / "data" / "clips" / SPEAKING, f"faster-whisper:{tmp_path / 'converted'}")
    assert heard.language == "en"
    assert heard.segments


def test_faster_whisper_leaves_out_what_is_hardly_speech_and_draws_nothing() -> None:
    asked: list[dict[str, object]] = []

    def transcribe(sound, **given):
        asked.append(given)
        said = [(" Well,", 0.1), (" thanks for watching", 0.58), (" yes.", 0.5)]
        return [SimpleNamespace(text=text, no_speech_prob=share) for text, share in said], SimpleNamespace(
            language="en"
        )

    recogniser = FasterWhisperAsr.__new__(FasterWhisperAsr)
    recogniser._model = SimpleNamespace(transcribe=transcribe)
    assert recogniser.transcribe(torch.zeros(1600)) == (" Well, yes.", "en")
    assert asked[0]["temperature"] == 0.0


def test_predict_hears_the_words_of_a_clip_without_subtitle(shared, ctc_folder) -> None:
    torch.manual_seed(0)
    media = {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32}
    config = {"streams": {"frame": "tiny-vision", "audio": "tiny-audio"}, "llm": "tiny", "media": media}
    model = AffectGPT.from_config({**config, "max_new_tokens": 4}).eval()
    clip, recogniser = shared / "data" / "clips" / SPEAKING, build_asr(f"transformers:{ctc_folder}")
    heard = model.predict(clip, asr=recogniser)
    assert heard.transcript
    assert "subtitle" in heard.used
    assert "subtitle" not in heard.missing
    assert set(heard.seconds) == {"hear", "read", "answer"}
    assert heard.to_json()["transcript"] == heard.transcript
    given = model.predict(clip, "Well.", asr=Deaf())
    assert given.transcript is None
    quiet = model.predict(make_clip(1.0, tone_hz=0.0), asr=Deaf())
    assert quiet.transcript is None
    assert quiet.missing["subtitle"] == "none was given, and speech recognition found none: its audio track is silent"


def test_names_are_read_and_mistakes_explained(tmp_path: Path, ctc_folder: Path) -> None:
    assert set(ASRS.names()) >= {"faster-whisper", "transformers"}
    with pytest.raises(ConfigError, match="Did you mean 'transformers'"):
        build_asr("transformer")
    with pytest.raises(ConfigError, match="missing a required argument: 'model'"):
        build_asr("transformers")
    with pytest.raises(ConfigError, match=f"{tmp_path}.*cannot be loaded"):
        build_asr(f"transformers:{tmp_path}")
    with pytest.raises(DataError, match=r"shape \[samples\]"):
        speech_segments(torch.zeros(2, 100))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ConfigError, match=r"faster_whisper.*affectgpt\[asr\]"):
        build_asr("faster-whisper:small")


def test_faster_whisper_refuses_a_folder_without_a_model(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed (affectgpt[asr])")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        build_asr(f"faster-whisper:{tmp_path}")
