"""A network that contradicts its manifest is refused when it is loaded, with one line, and not at the first batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelPackageError
from models.package.folder import ModelPackage
from models.package.manifest import Head, Tier
from models.text.network import Network, TokenIds
from models.text.onnx_classifier import OnnxClassifier
from tests.onnx_files import FLOAT, INT32, INT64, bag_of_words
from tests.tiny_model import HEADS, SENTIMENT, TOPIC, WORDS, network, save_tokenizer, tiny_package, weights

IDS = ("batch", "tokens")
MASKED = {"input_ids": (INT64, IDS), "attention_mask": (INT64, IDS)}
BOTH = {head.output: weights(head, WORDS, 3.0) for head in HEADS}
NAN = {**BOTH, "topic": np.full_like(BOTH["topic"], np.nan)}
DOUBLE, FLOAT16 = 11, 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a network", r"model\.onnx cannot be loaded"),
        (
            bag_of_words(BOTH, inputs={"input_ids": (INT64, IDS)}),
            r"no input attention_mask; its inputs are: input_ids; without it padding would change the answers",
        ),
        (
            bag_of_words(BOTH, inputs={**MASKED, "position_ids": (INT64, IDS)}),
            "needs inputs that no tokenizer gives: position_ids",
        ),
        (
            bag_of_words(BOTH, inputs={**MASKED, "input_ids": (FLOAT, IDS)}),
            r"takes input_ids as tensor\(float\), not as int64 or int32",
        ),
        (
            bag_of_words(BOTH, inputs={**MASKED, "attention_mask": (FLOAT, IDS)}),
            r"takes attention_mask as tensor\(float\)",
        ),
        (
            bag_of_words(BOTH, inputs={**MASKED, "token_type_ids": (INT64, ("batch",))}),
            r"takes token_type_ids with shape \['batch'\], not \[batch, tokens\]",
        ),
        (
            bag_of_words(BOTH, inputs=dict.fromkeys(MASKED, (INT64, (1, 2)))),
            "fails on a batch of two texts: ",
        ),
        (bag_of_words({"topic": BOTH["topic"]}), "no output 'sentiment' for head 'sentiment'; its outputs are: topic"),
        (
            bag_of_words({**BOTH, "topic": BOTH["topic"][:, :2]}),
            "gives 2 values for head 'topic', which has 3 labels",
        ),
        (
            bag_of_words(BOTH, output_type=INT64),
            r"gives tensor\(int64\) for head 'topic', not logits as floating-point numbers",
        ),
        (bag_of_words(NAN), "gives logits for head 'topic' that are not finite numbers"),
    ],
)
def test_a_network_that_contradicts_its_manifest_is_refused_with_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    package = tiny_package(tmp_path, networks={"model.onnx": content})
    with pytest.raises(ModelPackageError, match=message) as info:
        OnnxClassifier.load(package)
    assert "\n" not in str(info.value)
    assert "model.onnx" in str(info.value)


def test_every_tier_is_checked(tmp_path: Path) -> None:
    tiers = [Tier(name="quick", file="quick.onnx", thresholds={"topic": 0.5}), Tier(name="full", file="model.onnx")]
    package = tiny_package(tmp_path, networks={"model.onnx": network(), "quick.onnx": b"nothing"}, tiers=tiers)
    with pytest.raises(ModelPackageError, match=r"quick\.onnx cannot be loaded"):
        OnnxClassifier.load(package)


def test_a_tokenizer_with_more_words_than_the_network_is_refused(tmp_path: Path) -> None:
    """Otherwise every post with a word that the network lacks would fail later."""
    package = tiny_package(tmp_path)
    save_tokenizer(package.tokenizer_file, [*WORDS, "another"])
    with pytest.raises(ModelPackageError, match=r"model\.onnx fails on token id 8, the tokenizer's highest: "):
        OnnxClassifier(ModelPackage(package.path, package.manifest))


def test_a_tier_without_room_for_the_longest_text_is_refused(tmp_path: Path) -> None:
    tiers = [Tier(name="quick", file="quick.onnx", thresholds={"topic": 0.5}), Tier(name="full", file="model.onnx")]
    narrow = bag_of_words(BOTH, inputs=dict.fromkeys(MASKED, (INT64, ("batch", 5))))
    package = tiny_package(tmp_path, networks={"quick.onnx": network(), "model.onnx": narrow}, tiers=tiers)
    with pytest.raises(ModelPackageError, match=r"model\.onnx fails on a text of 16 tokens, its max_tokens: "):
        OnnxClassifier.load(package)


def test_too_little_memory_is_not_an_error_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be enough memory a moment later, so the package must not be refused."""
    package = tiny_package(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    for place in (
        "models.text.network.ort.InferenceSession",
        "models.text.network.Network.run",
        "models.text.tokenize.Tokenizer",
    ):
        with monkeypatch.context() as patch:
            if place.endswith("Tokenizer"):
                patch.setattr(f"{place}.from_file", full, raising=False)
            else:
                patch.setattr(place, full)
            with pytest.raises(MemoryError):
                OnnxClassifier.load(package)


@pytest.mark.parametrize("integer", [INT32, INT64])
@pytest.mark.parametrize("floating", [FLOAT, DOUBLE, FLOAT16])
def test_integers_and_floats_of_other_sizes_are_accepted(tmp_path: Path, integer: int, floating: int) -> None:
    inputs = dict.fromkeys((*MASKED, "token_type_ids"), (integer, IDS))
    content = bag_of_words(BOTH, inputs=inputs, output_type=floating)
    found = OnnxClassifier.load(tiny_package(tmp_path, networks={"model.onnx": content})).classify(["buy", "hello"])
    assert found.probabilities["topic"].dtype == np.float32
    np.testing.assert_allclose(found.probabilities["topic"].max(axis=1), 0.909443, atol=1e-3)


def test_padding_is_masked(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(network())
    feed = Network(file, HEADS, threads=1, tokens=TokenIds(7, 7, 16)).feed([np.array([3]), np.array([2, 4, 5])])
    assert feed.keys() == {"input_ids", "attention_mask"}
    assert {array.dtype for array in feed.values()} == {np.dtype(np.int64)}
    assert feed["input_ids"].tolist() == [[3, 7, 7], [2, 4, 5]]
    assert feed["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]


def test_two_heads_may_read_one_output(tmp_path: Path) -> None:
    again = Head(name="again", labels=TOPIC.labels, output="topic")
    content = bag_of_words({"topic": BOTH["topic"]})
    found = OnnxClassifier.load(
        tiny_package(tmp_path, heads=[TOPIC, again], networks={"model.onnx": content})
    ).classify(["buy"])
    np.testing.assert_array_equal(found.probabilities["topic"], found.probabilities["again"])
    assert SENTIMENT.name not in found.probabilities
