"""A network that does not fit its manifest is refused when it is loaded, in one line, and not at the first batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.classifier import OnnxClassifier
from models.errors import ModelPackageError
from models.network import Network
from models.package import Head, Tier
from tests.onnx_files import FLOAT, INT32, INT64, bag_of_words
from tests.tiny_model import HEADS, SENTIMENT, TOPIC, WORDS, network, tiny_package, weights

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
            "wants inputs that no tokenizer gives: position_ids",
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
def test_a_network_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    package = tiny_package(tmp_path, networks={"model.onnx": content})
    with pytest.raises(ModelPackageError, match=message) as info:
        OnnxClassifier.load(package)
    assert "\n" not in str(info.value)
    assert "model.onnx" in str(info.value)


def test_every_tier_is_tried(tmp_path: Path) -> None:
    tiers = [Tier(name="quick", file="quick.onnx", thresholds={"topic": 0.5}), Tier(name="full", file="model.onnx")]
    package = tiny_package(tmp_path, networks={"model.onnx": network(), "quick.onnx": b"nothing"}, tiers=tiers)
    with pytest.raises(ModelPackageError, match=r"quick\.onnx cannot be loaded"):
        OnnxClassifier.load(package)


@pytest.mark.parametrize("integer", [INT32, INT64])
@pytest.mark.parametrize("floating", [FLOAT, DOUBLE, FLOAT16])
def test_integers_and_floats_of_other_sizes_will_do(tmp_path: Path, integer: int, floating: int) -> None:
    inputs = dict.fromkeys((*MASKED, "token_type_ids"), (integer, IDS))
    content = bag_of_words(BOTH, inputs=inputs, output_type=floating)
    found = OnnxClassifier.load(tiny_package(tmp_path, networks={"model.onnx": content})).classify(["buy", "hello"])
    assert found.probabilities["topic"].dtype == np.float32
    np.testing.assert_allclose(found.probabilities["topic"].max(axis=1), 0.909443, atol=1e-3)


def test_padding_is_masked(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(network())
    feed = Network(file, HEADS, threads=1, pad_id=7).feed([np.array([3]), np.array([2, 4, 5])])
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
