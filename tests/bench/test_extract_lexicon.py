"""Labels by template and by lexicon, and the lexicon's sentiment: rules on small texts, figures on released data."""

import csv
import hashlib
import json

import pytest

from affectgpt.bench.extract import LexiconExtractor, get_extractor, get_sentiment_reader
from affectgpt.bench.extract.valence_reader import GRADES
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import emotion_hit_rate, emotion_wheel_score, sentiment_score


def lexicon(text, **args):
    return get_extractor("lexicon", **args).extract([text])[0]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("He is not happy, but worried.", ["worried"]),
        ("There are no obvious signs of nervousness or unease. She is calm.", ["calm"]),
        ("He is angry rather than sad.", ["angry"]),
        ("She doesn\u2019t seem happy and is far from calm.", []),
        ("She is not only sad but also angry.", ["sad", "angry"]),
        ('He says: "I am so happy!" His tone is sarcastic.', ["sarcastic"]),
        ("Her mood is emotional, the content of the subtitle is positive.", []),
        ("He is broken-hearted and fed-up.", ["fed up", "broken hearted"]),
        ("Nothing is said about it.", []),
        ("", []),
        ("他很高兴。", []),
        ("Both are neutral.", ["neutral"]),
        ("A creative person understands the value of numbers. She is understanding.", ["understanding"]),
    ],
)
def test_rules(text, labels):
    assert sorted(lexicon(text, min_share=0.0)) == sorted(labels)


def test_conclusions_outweigh_evidence_and_guesses_weigh_less():
    text = "She is excited. He may be curious. Therefore, we can infer that she is worried."
    weights = LexiconExtractor().weigh(text)
    assert weights == {"worried": 3.0, "excited": 1.0, "curious": 0.75}
    assert lexicon(text) == ["worried", "excited"]
    assert lexicon(text, max_labels=1) == ["worried"]
    assert lexicon(text, claim_weight=1.0) == ["excited", "worried", "curious"]


def test_families_add_up():
    assert LexiconExtractor().weigh("She is sad. Sadness and sorrow. He is glad.")["sorrow"] == 3.0


def test_template_reads_sentences_lists_and_nothing():
    found = get_extractor("template").extract(
        ["The character's emotional state is happy, sad.", ["Calm"], None, float("nan"), "[]"]
    )
    assert found == [["happy", "sad"], ["calm"], [], [], []]


def test_records_are_plain_json_and_count():
    extractor = get_extractor("lexicon", max_labels=2)
    extractor.extract(["He is happy.", ""])
    record = json.loads(json.dumps(extractor.record()))
    assert (record["name"], record["settings"]["wheel"], record["settings"]["max_labels"]) == ("lexicon", "builtin", 2)
    assert record["counts"] == {"answers": 2, "empty": 1}
    assert record["digest"] == get_extractor("lexicon").digest()
    assert len(record["digest"]) == 64
    reader = get_sentiment_reader("lexicon")
    reader.read([["glad"], []])
    assert reader.record()["counts"] == {"answers": 2, "neutral": 1, "positive": 1}


def test_wrong_input_is_named():
    with pytest.raises(ConfigError, match=r"unknown label extractor 'lexikon'\. Did you mean 'lexicon'"):
        get_extractor("lexikon")
    with pytest.raises(ConfigError, match=r"unexpected keyword argument 'weight'\. It takes: wheel, claim_weight"):
        get_extractor("lexicon", weight=3)
    with pytest.raises(ConfigError, match=r"min_share is 2; it must lie in \[0, 1\]"):
        get_extractor("lexicon", min_share=2)
    with pytest.raises(ConfigError, match="got the text 'happy'"):
        get_extractor("template").extract("happy")
    for name in ("template", "lexicon"):
        with pytest.raises(DataError, match="answer 1: labels are 3"):
            get_extractor(name).extract(["happy", 3])
    with pytest.raises(DataError, match="sample 0 is 'happy'; expected a list of labels"):
        get_sentiment_reader("lexicon").read(["happy"])


def test_every_family_has_one_grade_or_none():
    wheel = EmotionWheel.builtin()
    families = " ".join(GRADES.values()).split()
    kins = [wheel.kin[wheel.find(family)] for family in families]
    assert len(set(kins)) == len(families)
    ungraded = set(wheel.kin.tolist()) - {int(kin) for kin in kins}
    assert ungraded == {int(wheel.kin[wheel.find(word)]) for word in ("surprise", "longing", "reflection")}


def test_sentiment_sums_grades():
    read = get_sentiment_reader("lexicon").read
    assert read([["a bit sad"], ["Self-assured"], ["happy", "sad"], ["calm", "worried"]]) == [
        "negative",
        "positive",
        "positive",
        "negative",
    ]


def test_descriptions_against_human_labels(shared):
    with (shared / "data" / "ov_merd_text.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    wheel = EmotionWheel.official(shared / "data" / "emotion_wheel")
    found = get_extractor("lexicon").extract([row["description"] for row in rows])
    in_half = [hashlib.sha256(row["name"].encode()).digest()[-1] % 2 for row in rows]
    for half in (0, 1):
        kept = [i for i, which in enumerate(in_half) if which == half]
        score = emotion_wheel_score([found[i] for i in kept], [rows[i]["labels"] for i in kept], wheel)
        assert float(score["f1"]) >= 0.74
    assert float(emotion_wheel_score(found, [row["labels"] for row in rows], wheel)["f1"]) >= 0.76


def test_template_against_the_released_lists(shared):
    with (shared / "oracle" / "metrics" / "meld_released.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = get_extractor("template").extract([row["sentence_ckpt30"] for row in rows])
    released = get_extractor("template").extract([row["openset_ckpt30"] for row in rows])
    pairs = [(set(a), set(b)) for a, b in zip(found, released, strict=True)]
    assert sum(a == b for a, b in pairs) / len(pairs) > 0.81
    assert sum(b <= a for a, b in pairs) / len(pairs) > 0.98
    wheel, gold = EmotionWheel.official(shared / "data" / "emotion_wheel"), [row["gold"] for row in rows]
    scores = [float(emotion_hit_rate(labels, gold, wheel)["hit_rate"]) for labels in (found, released)]
    assert 0 < scores[0] - scores[1] < 0.01


def test_sentiment_against_the_released_one(shared):
    with (shared / "oracle" / "metrics" / "sims_released.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    gold = [float(row["gold"]) for row in rows]
    agreement = []
    for checkpoint in ("ckpt30", "ckpt45"):
        released = [row[f"sentiment_{checkpoint}"] for row in rows]
        labels = get_extractor("template").extract([row[f"openset_{checkpoint}"] for row in rows])
        found = get_sentiment_reader("lexicon").read(labels)
        agreement += [a == b for a, b in zip(found, released, strict=True)]
        scores = [float(sentiment_score(s, gold)["weighted_f1"]) for s in (found, released)]
        assert abs(scores[0] - scores[1]) < 0.01
    assert sum(agreement) / len(agreement) >= 0.96
