"""The classifier: right answers, in the right order, for whatever text comes, and batches of bounded size."""

import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import classifier as module
from models.classifier import CHARS_PER_TOKEN, CHUNK, PADDING, Classifier, OnnxClassifier, micro_batches, softmax
from models.errors import ModelNotFoundError, ModelPackageError
from models.package import DataSource, Head, bundled_package_path, load_package, write_package

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

# How far a probability may move with the texts it is batched with. Activations have fixed scales, so what is left is
# the order of float sums, and a rounding that such a difference tips over to the next of 256 steps.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def bundled() -> OnnxClassifier:
    return OnnxClassifier.load(bundled_package_path())


def texts(count: int) -> list[str]:
    """Texts of many lengths, none sorted."""
    sentence = "i feel quite happy but also sad and rather afraid of the angry people that i love"
    words = sentence.split()
    return [" ".join(itertools.islice(itertools.cycle(words[n % 7 :] + words), n * 13 % 60)) for n in range(count)]


def test_obvious_sentences(bundled):
    labels = bundled.manifest.head("emotion").labels
    rows = bundled.classify([text for text, _ in OBVIOUS])["emotion"]
    assert [labels[i] for i in rows.argmax(1)] == [label for _, label in OBVIOUS]


def test_probabilities(bundled):
    rows = bundled.classify(texts(50))["emotion"]
    assert rows.shape == (50, 6)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_it_is_a_classifier(bundled):
    checked: Classifier = bundled
    assert checked.manifest.name == "emotion-minilm-l6"


def test_nothing_in_nothing_out(bundled):
    rows = bundled.classify([])["emotion"]
    assert rows.shape == (0, 6)
    assert rows.dtype == np.float32


def test_a_batch_equals_its_texts_alone(bundled):
    many = texts(60) + [text for text, _ in OBVIOUS] + ODD
    together = bundled.classify(many)["emotion"]
    alone = np.concatenate([bundled.classify([text])["emotion"] for text in many])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)


def test_the_order_of_the_input_is_kept(bundled):
    many = texts(60)
    order = np.random.default_rng(3).permutation(len(many))
    shuffled = bundled.classify([many[i] for i in order])["emotion"]
    np.testing.assert_allclose(shuffled, bundled.classify(many)["emotion"][order], atol=TOLERANCE)


def test_more_texts_than_are_tokenised_at_once(bundled, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)
    many = texts(31)
    chunked = bundled.classify(many)["emotion"]
    monkeypatch.setattr(module, "CHUNK", CHUNK)
    np.testing.assert_allclose(chunked, bundled.classify(many)["emotion"], atol=TOLERANCE)


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_any_text_has_an_answer(bundled, text):
    rows = bundled.classify([text])["emotion"]
    assert rows.shape == (1, 6)
    assert abs(rows.sum() - 1) < 1e-5


def test_a_long_text_is_cut(bundled):
    start = "i feel so happy " * 40
    limit = bundled.manifest.max_tokens
    assert len(bundled._encode([start])[0].ids) == limit
    np.testing.assert_array_equal(
        bundled.classify([start])["emotion"], bundled.classify([start + "i am sad " * 10])["emotion"]
    )


@pytest.mark.timeout(30)
def test_a_huge_text_costs_no_more_than_a_long_one(bundled, monkeypatch):
    seen = []
    real = module.normalize
    monkeypatch.setattr(module, "normalize", lambda text: seen.append(len(text)) or real(text))
    rows = bundled.classify(["word " * 10_000_000, "x" * 50_000_000])["emotion"]
    assert rows.shape == (2, 6)
    assert max(seen) <= bundled.manifest.max_tokens * CHARS_PER_TOKEN


def test_threads_may_share_it(bundled):
    many = texts(24)
    expected = bundled.classify(many)["emotion"]
    with ThreadPoolExecutor(6) as pool:
        for rows in pool.map(lambda _: bundled.classify(many)["emotion"], range(18)):
            np.testing.assert_array_equal(rows, expected)


def test_the_network_never_sees_more_than_the_budget():
    shapes = []
    budgeted = OnnxClassifier.load(bundled_package_path(), token_budget=200, max_batch=8)
    real = budgeted._feed

    def watch(encodings):
        feed = real(encodings)
        shapes.append(feed["input_ids"].shape)
        return feed

    budgeted._feed = watch
    budgeted.classify(texts(40))
    assert sum(count for count, _ in shapes) == 40
    assert all(count <= 8 and (count * longest <= 200 or count == 1) for count, longest in shapes)
    assert any(count > 1 for count, _ in shapes)


def test_padding_is_masked(bundled):
    feed = bundled._feed(bundled._encode(["one", "one two three four"]))
    assert feed["input_ids"].dtype == np.int64
    assert feed["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert feed["input_ids"][0, 3:].tolist() == [0, 0, 0]


def test_two_threads_answer_as_one(bundled):
    two = OnnxClassifier.load(load_package(bundled_package_path()), threads=2)
    two.warm_up()
    many = texts(20)
    np.testing.assert_allclose(two.classify(many)["emotion"], bundled.classify(many)["emotion"], atol=TOLERANCE)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_micro_batches(lengths, budget, most):
    batches = list(micro_batches(lengths, budget, most))
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        padded = max(lengths[i] for i in batch) * len(batch)
        assert len(batch) == 1 or padded <= budget
        assert padded - sum(lengths[i] for i in batch) <= PADDING
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest)


def test_texts_of_one_length_share_a_batch():
    assert list(micro_batches([5, 3, 5, 3, 5], 1000, 100)) == [[1, 3, 0, 2, 4]]
    assert list(micro_batches([3] * 10 + [30], 1000, 100)) == [list(range(10)), [10]]


def test_softmax_is_stable_and_tempered():
    logits = np.array([[1e4, -1e4, 0], [0, 0, 0], [2, 1, 0]], np.float32)
    rows = softmax(logits, 1.0)
    np.testing.assert_allclose(rows[0], [1, 0, 0])
    np.testing.assert_allclose(rows[1], [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(rows[2], np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum(), rtol=1e-6)
    assert softmax(logits, 2.0)[2].max() < rows[2].max() < softmax(logits, 0.5)[2].max()
    assert logits[0, 0] == np.float32(1e4)


@pytest.mark.parametrize("bad", [{"threads": 0}, {"token_budget": 0}, {"max_batch": 0}])
def test_a_bad_argument_is_refused(bad):
    with pytest.raises(ValueError, match="at least 1"):
        OnnxClassifier.load(bundled_package_path(), **bad)


# --- packages whose parts do not fit together ---------------------------------------------------------------------


def changed(folder: Path, *, replace: dict[str, bytes] | None = None, **fields: object) -> Path:
    """A copy of the bundled package with other files or another description, sealed anew."""
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


LABELS = ("joy", "sadness", "anger", "fear", "love", "surprise")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replace": {"model.onnx": b"not a network"}}, r"model\.onnx cannot be loaded"),
        ({"replace": {"tokenizer.json": b"{}"}}, r"tokenizer\.json is not a tokenizer"),
        ({"normalization": "v2"}, "text normalisation 'v2'; this version serves 'v1'"),
        ({"heads": [Head(name="emotion", labels=LABELS, output="other")]}, "no output 'other' for head 'emotion'"),
        (
            {"heads": [Head(name="emotion", labels=LABELS[:5], output="emotion")]},
            "6 values for head 'emotion', which has 5",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_line(tmp_path, changes, message):
    path = changed(tmp_path / "package", **changes)
    with pytest.raises(ModelPackageError, match=message) as info:
        OnnxClassifier.load(path)
    assert "\n" not in str(info.value)


def test_two_heads_are_both_answered(tmp_path):
    hot = Head(name="again", labels=LABELS, output="emotion", temperature=10.0)
    heads = (*load_package(bundled_package_path()).manifest.heads, hot)
    answers = OnnxClassifier.load(changed(tmp_path / "package", heads=heads)).classify(["i feel happy"])
    assert answers.keys() == {"emotion", "again"}
    assert answers["again"].max() < answers["emotion"].max()


def test_no_package(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no model package"):
        OnnxClassifier.load(tmp_path)


def test_a_damaged_package_is_not_loaded(tmp_path):
    path = changed(tmp_path / "package")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["model.onnx"]["sha256"] = "0" * 64
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelPackageError, match=r"model\.onnx is damaged: expected sha256 000000000000…"):
        OnnxClassifier.load(path)
