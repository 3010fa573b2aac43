"""The cascade: the first tier that is sure enough answers a text, whatever the other texts of the call are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classifier import Classification
from models.package.folder import bundled_package_path
from models.package.manifest import Tier
from models.text.batching import CHEAP_FACTOR
from models.text.onnx_classifier import SMALLEST, OnnxClassifier, confident, softmax
from tests.tiny_model import HEADS, WORDS, network, tiny_package

# The quick tier has fewer words, and is less sure of all of them.
QUICK_WORDS = {word: meaning if word != "groß" else {} for word, meaning in WORDS.items()}
NETWORKS = {
    "quick.onnx": network(words=QUICK_WORDS, strength=1.0),
    "middle.onnx": network(strength=1.5),
    "model.onnx": network(strength=3.0),
}
FULL = Tier(name="full", file="model.onnx", temperatures={"sentiment": 2.0})

TEXTS = st.lists(st.lists(st.sampled_from([*WORDS, "unheard-of"]), max_size=12).map(" ".join), max_size=30)
THRESHOLDS = st.dictionaries(st.sampled_from(["topic", "sentiment"]), st.floats(0, 1.1), min_size=1)


def cascade(folder: Path, *earlier: Tier) -> OnnxClassifier:
    return OnnxClassifier.load(tiny_package(folder, networks=NETWORKS, tiers=[*earlier, FULL]))


def quick(thresholds: dict[str, float], temperatures: dict[str, float] | None = None) -> Tier:
    return Tier(name="quick", file="quick.onnx", thresholds=thresholds, temperatures=temperatures or {})


def by_hand(classifier: OnnxClassifier, texts: list[str]) -> Classification:
    """Classify each text alone with every tier, and apply the thresholds text by text."""
    heads = classifier.manifest.heads
    answers: dict[str, list[np.ndarray]] = {head.name: [] for head in heads}
    tiers = []
    for text in texts:
        for index, tier in enumerate(classifier.manifest.tiers):
            found = classifier.classify_with(index, [text])
            if all(float(found[head].max()) >= threshold for head, threshold in tier.thresholds.items()):
                break
        tiers.append(index)
        for head in heads:
            answers[head.name].append(found[head.name][0])
    rows = {head.name: np.array(answers[head.name]).reshape(len(texts), len(head.labels)) for head in heads}
    return Classification(rows, np.array(tiers, np.intp))


def assert_equal(found: Classification, expected: Classification) -> None:
    np.testing.assert_array_equal(found.tiers, expected.tiers)
    for head, rows in expected.probabilities.items():
        np.testing.assert_allclose(found.probabilities[head], rows, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, first=THRESHOLDS, second=THRESHOLDS, temperature=st.floats(0.3, 3))
def test_a_cascade_answers_as_its_tiers_alone_with_thresholds_applied_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    first: dict[str, float],
    second: dict[str, float],
    temperature: float,
) -> None:
    middle = Tier(name="middle", file="middle.onnx", thresholds=second)
    classifier = cascade(tmp_path_factory.mktemp("p"), quick(first, {"topic": temperature}), middle)
    found = classifier.classify(texts)
    # A confidence that differs from its threshold only by rounding may fall on either side.
    near = np.zeros(len(texts), np.bool_)
    for index, tier in enumerate(classifier.manifest.tiers):
        for head, threshold in tier.thresholds.items():
            near |= abs(classifier.classify_with(index, texts)[head].max(axis=1) - threshold) < 1e-5
    keep = [row for row in range(len(texts)) if not near[row]]
    rows = {head: values[keep] for head, values in found.probabilities.items()}
    assert_equal(Classification(rows, found.tiers[keep]), by_hand(classifier, [texts[row] for row in keep]))


@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, data=st.data())
def test_an_answer_does_not_depend_on_the_batch_or_the_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    classifier = cascade(tmp_path_factory.mktemp("p"), quick({"topic": 0.543, "sentiment": 0.371}))
    whole = classifier.classify(texts)
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = classifier.classify([texts[row] for row in order])
    rows = {head: values[order] for head, values in whole.probabilities.items()}
    assert_equal(shuffled, Classification(rows, whole.tiers[order]))


def test_the_result_names_the_tier_that_answered_each_text(tmp_path: Path) -> None:
    classifier = cascade(tmp_path, quick({"topic": 0.7}))
    found = classifier.classify(["buy buy buy", "groß groß", "hello", "hello hello hello"])
    assert [classifier.manifest.tiers[tier].name for tier in found.tiers] == ["quick", "full", "full", "quick"]
    labels = HEADS[0].labels
    assert [labels[best] for best in found.probabilities["topic"].argmax(axis=1)] == [
        "spam",
        "größer als 🙂",
        "ham",
        "ham",
    ]


@pytest.mark.parametrize(("threshold", "tier"), [(0.0, 0), (1.01, 1)])
def test_a_threshold_of_zero_and_one_that_no_confidence_reaches(tmp_path: Path, threshold: float, tier: int) -> None:
    classifier = cascade(tmp_path, quick({"topic": threshold}))
    texts = [*WORDS, "", "buy " * 12]
    found = classifier.classify(texts)
    assert found.tiers.tolist() == [tier] * len(texts)
    alone = classifier.classify_with(tier, texts)
    for head, rows in alone.items():
        np.testing.assert_allclose(found.probabilities[head], rows, atol=1e-6)


def test_every_head_that_has_a_threshold_must_reach_it(tmp_path: Path) -> None:
    classifier = cascade(tmp_path, quick({"topic": 0.7, "sentiment": 0.7}))
    # The first tier is sure of the topic only, of the sentiment only, and of both.
    assert classifier.classify(["buy buy buy good good good", "good good good", "buy buy buy"]).tiers.tolist() == [
        1,
        1,
        0,
    ]


def test_temperatures_are_those_of_the_tier_that_answered(tmp_path: Path) -> None:
    classifier = cascade(tmp_path, quick({"topic": 0.6}, {"topic": 0.5}))
    sure, unsure = classifier.classify(["buy", "bad"]).probabilities, [1.0, 0.0, 0.0]
    np.testing.assert_allclose(sure["topic"][0], softmax(np.array([unsure], np.float32) / 0.5)[0], rtol=1e-5)
    np.testing.assert_allclose(
        sure["sentiment"][1], softmax(np.array([[3.0, 0.0, 0.0]], np.float32) / 2.0)[0], rtol=1e-5
    )


def test_biases_are_added_after_the_temperature(tmp_path: Path) -> None:
    biases = (0.5, -0.25, 2.0)
    classifier = cascade(
        tmp_path, quick({"topic": 1.1}, {"topic": 0.5}).model_copy(update={"biases": {"topic": biases}})
    )
    found = classifier.classify_with(0, ["buy"])
    expected = softmax(np.array([[1.0, 0.0, 0.0]], np.float32) / 0.5 + np.array(biases, np.float32))
    np.testing.assert_allclose(found["topic"], expected, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS, weight=st.floats(0, 2), temperature=st.floats(0.3, 3), threshold=st.floats(0.3, 1.1))
def test_a_tier_adds_the_weighted_log_probabilities_of_the_previous_tier(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], weight: float, temperature: float, threshold: float
) -> None:
    """This is a logarithmic opinion pool: p ~ p_last * max(p_first, SMALLEST) ** weight."""
    first = quick({"topic": threshold}, {"topic": temperature})
    full = FULL.model_copy(update={"earlier_weights": {"topic": weight}})
    package = tiny_package(tmp_path_factory.mktemp("p"), networks=NETWORKS, tiers=[first, full])
    classifier = OnnxClassifier.load(package)
    alone = cascade(tmp_path_factory.mktemp("p"), first)
    of_first, of_last = (alone.classify_with(tier, texts) for tier in (0, 1))
    pooled = of_last["topic"] * np.maximum(of_first["topic"], SMALLEST) ** weight
    pooled /= pooled.sum(axis=1, keepdims=True)

    said = classifier.classify_with(1, texts)
    np.testing.assert_allclose(said["topic"], pooled, atol=1e-4)
    np.testing.assert_allclose(said["sentiment"], of_last["sentiment"], atol=1e-6)
    served = classifier.classify(texts)
    left = served.tiers == 1
    np.testing.assert_allclose(served.probabilities["topic"][left], pooled[left], atol=1e-4)
    np.testing.assert_allclose(served.probabilities["topic"][~left], of_first["topic"][~left], atol=1e-6)


def test_a_probability_rounded_to_zero_does_not_exclude_a_label(tmp_path: Path) -> None:
    sure = quick({"topic": 1.1}, {"topic": 0.001})
    full = FULL.model_copy(update={"earlier_weights": {"topic": 0.1}})
    classifier = OnnxClassifier.load(tiny_package(tmp_path, networks=NETWORKS, tiers=[sure, full]))
    (row,) = classifier.classify(["buy"]).probabilities["topic"]
    assert np.isfinite(row).all()
    assert row.min() > 0


def test_no_texts_give_an_empty_result(tmp_path: Path) -> None:
    found = cascade(tmp_path, quick({"topic": 0.5})).classify([])
    assert len(found) == 0
    assert {head: rows.shape for head, rows in found.probabilities.items()} == {"topic": (0, 3), "sentiment": (0, 3)}


def test_the_last_tier_gets_only_unanswered_texts_within_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tiny_package(tmp_path, networks=NETWORKS, tiers=[quick({"topic": 0.7}), FULL])
    classifier = OnnxClassifier.load(package, token_budget=32, max_batch=4)
    seen: dict[str, list[int]] = {"quick.onnx": [], "model.onnx": []}
    for network_ in classifier._networks:
        real = network_.run

        def run(ids, real=real, name=network_._file.name):  # type: ignore[no-untyped-def]
            seen[name].append(max(map(len, ids)) * len(ids))
            return real(ids)

        monkeypatch.setattr(network_, "run", run)
    answers = classifier.classify(["buy buy buy", "good good"] * 40)
    assert (answers.tiers == 1).sum() == 40
    assert sum(seen["model.onnx"]) == 80, "the left-over texts, two tokens each, without padding"
    assert max(seen["model.onnx"]) <= 32
    assert 32 < max(seen["quick.onnx"]) <= 32 * CHEAP_FACTOR


def test_nan_never_reaches_a_threshold() -> None:
    rows = {"topic": np.array([[np.nan, np.nan], [0.9, 0.1]], np.float32)}
    assert confident(rows, {"topic": 0.0}).tolist() == [False, True]
    assert confident(rows, {}).tolist() == [True, True]


def test_the_bundled_model_answers_as_its_tiers_alone() -> None:
    classifier = OnnxClassifier.load(bundled_package_path())
    texts = ["i feel so happy and delighted today", "well", "i am heartbroken and miserable", "hm ok then", ""]
    found, expected = classifier.classify(texts), by_hand(classifier, texts)
    np.testing.assert_array_equal(found.tiers, expected.tiers)
    for head, rows in expected.probabilities.items():
        np.testing.assert_allclose(found.probabilities[head], rows, atol=1e-3)
