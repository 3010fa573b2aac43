"""The classifier: correct answers in the order of the texts, for any text, with batches of limited size."""

import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.classifier import Classifier
from models.errors import ModelNotFoundError, ModelPackageError
from models.package.folder import bundled_package_path, load_package, write_package
from models.package.manifest import DataSource, Head, Tier
from models.text import tokenize
from models.text.normalize import NORMALIZERS
from models.text.onnx_classifier import OnnxClassifier, softmax
from models.text.tokenize import CHARS_PER_TOKEN
from tests.tiny_model import tiny_package

OBVIOUS = [
    ("i feel so happy and delighted today", "joy"),
    ("i am feeling wonderful and blessed with my life", "joy"),
    ("i feel proud of what we achieved together", "joy"),
    ("i feel so sad and lonely since you left", "sadness"),
    ("i am heartbroken and miserable", "sadness"),
    ("I feel hopeless and depressed &amp; alone", "sadness"),
    ("i am furious, they make me so angry", "anger"),
    ("i feel annoyed and irritated by all of these rude people", "anger"),
    ("i feel terrified of the dark", "fear"),
    ("i am so nervous and anxious about tomorrow", "fear"),
    ("i feel a caring tender love for my sweet husband", "love"),
    ("i feel amazed and surprised by this", "surprise"),
    ("@bob i was sooooo shocked and stunned https://example.com/x", "surprise"),
    ("that is disgusting, it makes me sick", "disgust"),
    ("the train leaves platform four at noon", "neutral"),
    ("The meeting is on Tuesday at 10 am.", "neutral"),
]
SENTIMENTS = [
    ("i feel so happy and delighted today", "positive"),
    ("this is the worst service ever", "negative"),
    ("The meeting is on Tuesday at 10 am.", "neutral"),
]
ODD = [
    "",
    " ",
    "\n\t",
    "\x00",
    "\ud800",
    "😂😂😂",
    "👨\u200d👩\u200d👧",
    "e\u0301" * 50,
    "我很高兴",
    "سعيد جدا",
    "a",
    "[PAD] [SEP] [CLS]",
    "�",
]

# How much a probability may change with the other texts of its batch. Activations have fixed scales, so only the order
# of float sums differs, and such a difference may round an activation to the next of its 256 steps.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def bundled() -> OnnxClassifier:
    return OnnxClassifier.load(bundled_package_path())


LABELS = ("joy", "sadness", "anger", "fear", "love", "surprise", "disgust", "neutral")


def emotions(classifier: OnnxClassifier, texts: list[str]) -> NDArray[np.float32]:
    return classifier.classify(texts).probabilities["emotion"]


def texts(count: int) -> list[str]:
    """Returns texts of many lengths, in random order."""
    sentence = "i feel quite happy but also sad and rather afraid of the angry people that i love"
    words = sentence.split()
    return [" ".join(itertools.islice(itertools.cycle(words[n % 7 :] + words), n * 13 % 60)) for n in range(count)]


def test_obvious_sentences(bundled):
    labels = bundled.manifest.head("emotion").labels
    rows = emotions(bundled, [text for text, _ in OBVIOUS])
    assert [labels[i] for i in rows.argmax(1)] == [label for _, label in OBVIOUS]


def test_obvious_sentiments(bundled):
    labels = bundled.manifest.head("sentiment").labels
    rows = bundled.classify([text for text, _ in SENTIMENTS]).probabilities["sentiment"]
    assert [labels[i] for i in rows.argmax(1)] == [label for _, label in SENTIMENTS]


def test_probabilities(bundled):
    rows = emotions(bundled, texts(50))
    assert rows.shape == (50, len(LABELS))
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_it_is_a_classifier(bundled):
    checked: Classifier = bundled
    assert checked.manifest.name == "emotion-minilm-l4"
    assert checked.manifest.head("emotion").labels == LABELS
    assert [tier.name for tier in checked.manifest.tiers] == ["convolution", "transformer"]


def test_no_texts_give_an_empty_result(bundled):
    rows = emotions(bundled, [])
    assert rows.shape == (0, len(LABELS))
    assert rows.dtype == np.float32


def test_texts_get_the_same_probabilities_alone_and_in_a_batch(bundled):
    many = texts(60) + [text for text, _ in OBVIOUS] + ODD
    for tier in range(len(bundled.manifest.tiers)):
        together = bundled.classify_with(tier, many)
        for row, text in enumerate(many):
            for head, alone in bundled.classify_with(tier, [text]).items():
                np.testing.assert_allclose(together[head][row], alone[0], atol=TOLERANCE)


def test_a_text_is_answered_by_the_same_tier_in_any_batch(bundled):
    many = texts(60) + [text for text, _ in OBVIOUS] + ODD
    together = bundled.classify(many).tiers
    first, thresholds = bundled.classify_with(0, many), bundled.manifest.tiers[0].thresholds
    # Except if rounding moves a confidence across the threshold.
    near = np.any([abs(first[head].max(1) - least) < TOLERANCE for head, least in thresholds.items()], axis=0)
    alone = np.array([bundled.classify([text]).tiers[0] for text in many])
    assert ((together == alone) | near).all()
    assert len(set(together.tolist())) == 2


def test_the_order_of_the_input_is_kept(bundled):
    many = texts(60)
    order = np.random.default_rng(3).permutation(len(many))
    shuffled = emotions(bundled, [many[i] for i in order])
    np.testing.assert_allclose(shuffled, emotions(bundled, many)[order], atol=TOLERANCE)


@pytest.mark.parametrize(("name", "value"), [("CHUNK", 7), ("CHUNK_CHARS", 500)])
def test_more_texts_than_are_tokenised_at_once(bundled, monkeypatch, name, value):
    many = texts(31)
    whole = emotions(bundled, many)
    monkeypatch.setattr(tokenize, name, value)
    assert len(list(bundled._encoder.encode(many))) > 3
    np.testing.assert_allclose(emotions(bundled, many), whole, atol=TOLERANCE)


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_any_text_gets_an_answer(bundled, text):
    rows = emotions(bundled, [text])
    assert rows.shape == (1, len(LABELS))
    assert abs(rows.sum() - 1) < 1e-5


def test_a_long_text_is_cut(bundled):
    start = "i feel so happy " * 40
    limit = bundled.manifest.max_tokens
    ((_, [ids]),) = bundled._encoder.encode([start])
    assert len(ids) == limit
    np.testing.assert_array_equal(emotions(bundled, [start]), emotions(bundled, [start + "i am sad " * 10]))


def test_a_huge_text_costs_no_more_than_a_long_one(bundled, monkeypatch):
    seen = []
    real = bundled._encoder._normalize
    monkeypatch.setattr(bundled._encoder, "_normalize", lambda text: seen.append(len(text)) or real(text))
    rows = emotions(bundled, ["word " * 10_000_000, "x" * 50_000_000])
    assert rows.shape == (2, len(LABELS))
    assert max(seen) <= bundled.manifest.max_tokens * CHARS_PER_TOKEN


def test_threads_can_share_a_classifier(bundled):
    many = texts(24)
    expected = emotions(bundled, many)
    with ThreadPoolExecutor(6) as pool:
        for rows in pool.map(lambda _: emotions(bundled, many), range(18)):
            np.testing.assert_array_equal(rows, expected)


def watched(classifier: OnnxClassifier, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Returns a list to which every later run appends its shape: (texts, padded tokens per text)."""
    shapes: list[tuple[int, int]] = []
    for network in set(classifier._networks):
        real = network.feed

        def watch(ids, real=real):
            feed = real(ids)
            shapes.append(feed["input_ids"].shape)
            return feed

        monkeypatch.setattr(network, "feed", watch)
    return shapes


def test_the_network_never_sees_more_than_the_budget(tmp_path, monkeypatch):
    budgeted = OnnxClassifier.load(tiny_package(tmp_path, max_tokens=64), token_budget=200, max_batch=8)
    shapes = watched(budgeted, monkeypatch)
    budgeted.classify(texts(40))
    assert sum(count for count, _ in shapes) == 40
    assert all(count <= 8 and (count * longest <= 200 or count == 1) for count, longest in shapes)
    assert any(count > 1 for count, _ in shapes)


def test_memory_is_bounded_whatever_comes(tmp_path, monkeypatch):
    """Thousands of long texts, odd ones among them: no run exceeds the budget, no chunk its characters."""
    classifier = OnnxClassifier.load(tiny_package(tmp_path / "package", max_tokens=300))
    shapes = watched(classifier, monkeypatch)
    long = [f"hello {word} " * 2_000 for word in ("good", "bad", "groß")] * 400
    many = [*long, "x " * 50_000, "x" * 100_000, "😂", "", "\ud800" * 100, *long]
    answers = classifier.classify(many)
    assert len(answers) == sum(count for count, _ in shapes) == len(many)
    assert max(count * longest for count, longest in shapes) <= 1024
    assert max(count for count, _ in shapes) <= 128
    assert all(np.isfinite(rows).all() for rows in answers.probabilities.values())
    # 9,600 characters of each text are used, and a chunk has at most 2**19: 54 texts.
    sizes = [part.stop - part.start for part, _ in classifier._encoder.encode(long)]
    assert max(sizes) == tokenize.CHUNK_CHARS // (300 * CHARS_PER_TOKEN)
    np.testing.assert_array_equal(answers.probabilities["topic"][0], answers.probabilities["topic"][-3])


def test_two_threads_give_the_same_answers_as_one(bundled):
    two = OnnxClassifier.load(load_package(bundled_package_path()), threads=2)
    two.warm_up()
    many = texts(20)
    np.testing.assert_allclose(emotions(two, many), emotions(bundled, many), atol=TOLERANCE)


def test_softmax_is_stable():
    logits = np.array([[1e4, -1e4, 0], [0, 0, 0], [2, 1, 0]], np.float32)
    rows = softmax(logits)
    np.testing.assert_allclose(rows[0], [1, 0, 0])
    np.testing.assert_allclose(rows[1], [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(rows[2], np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum(), rtol=1e-6)
    assert logits[0, 0] == np.float32(1e4)


@pytest.mark.parametrize("bad", [{"threads": 0}, {"token_budget": 0}, {"max_batch": 0}])
def test_a_bad_argument_is_refused(bad):
    with pytest.raises(ValueError, match="at least 1"):
        OnnxClassifier.load(bundled_package_path(), **bad)


# --- packages whose parts contradict each other -------------------------------------------------------------------


def changed(folder: Path, *, replace: dict[str, bytes] | None = None, **fields: object) -> Path:
    """Seal a copy of the bundled package with other files or other fields of the manifest, and return its folder."""
    shutil.copytree(bundled_package_path(), folder)
    for name, content in (replace or {}).items():
        (folder / name).write_bytes(content)
    manifest = load_package(bundled_package_path()).manifest
    description: dict[str, object] = {
        "name": "changed",
        "version": "1.0.0",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "base_model": "x",
        "licence": "x",
        "training_data": [DataSource(name="x", licence="x")],
        "normalization": manifest.normalization,
        "max_tokens": manifest.max_tokens,
        "heads": manifest.heads,
        "metrics": {},
        "files": list(manifest.files),
    }
    return write_package(folder, **(description | fields)).path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replace": {"model.onnx": b"not a network"}}, r"model\.onnx cannot be loaded"),
        ({"replace": {"tokenizer.json": b"{}"}}, r"tokenizer\.json is not a tokenizer"),
        (
            {"normalization": "v9"},
            f"'v9'; this version supports {', '.join(map(repr, NORMALIZERS))}",
        ),
        ({"heads": [Head(name="emotion", labels=LABELS, output="other")]}, "no output 'other' for head 'emotion'"),
        (
            {"heads": [Head(name="emotion", labels=LABELS[:5], output="emotion")]},
            "8 values for head 'emotion', which has 5",
        ),
    ],
)
def test_parts_that_contradict_each_other_are_refused_with_one_line(tmp_path, changes, message):
    path = changed(tmp_path / "package", **changes)
    with pytest.raises(ModelPackageError, match=message) as info:
        OnnxClassifier.load(path)
    assert "\n" not in str(info.value)


def test_two_heads_are_both_answered(tmp_path):
    again = Head(name="again", labels=LABELS, output="emotion")
    heads = (*load_package(bundled_package_path()).manifest.heads, again)
    tiers = [Tier(name="full", file="model.onnx", temperatures={"again": 10.0})]
    found = OnnxClassifier.load(changed(tmp_path / "package", heads=heads, tiers=tiers)).classify(["i feel happy"])
    assert found.probabilities.keys() == {"emotion", "sentiment", "again"}
    assert found.probabilities["again"].max() < found.probabilities["emotion"].max()


def test_a_missing_package_is_an_error(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no model package"):
        OnnxClassifier.load(tmp_path)


def test_a_damaged_package_is_not_loaded(tmp_path):
    path = changed(tmp_path / "package")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["model.onnx"]["sha256"] = "0" * 64
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelPackageError, match=r"model\.onnx is damaged: expected sha256 000000000000…"):
        OnnxClassifier.load(path)
